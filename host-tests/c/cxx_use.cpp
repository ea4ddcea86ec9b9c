// Containers, threads, exceptions: what C++ programs do with the operators.
#include "blocks.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

// Runs the body in `count` threads at once and waits for them.
void in_threads(int count, const std::function<void(int)> &body)
{
    std::vector<std::thread> threads;
    for (int i = 0; i < count; i++)
        threads.emplace_back(body, i);
    for (std::thread &thread : threads)
        thread.join();
}

std::string text_of(std::size_t i) { return std::string(i % 300, char('a' + i % 26)); }

void use_containers(int seed)
{
    std::map<std::size_t, std::string> tree;
    std::unordered_map<std::string, std::vector<int>> table;
    std::list<std::unique_ptr<std::string>> list;
    for (std::size_t i = 0; i < 3000; i++) {
        tree[i * 7919 % 3001 + std::size_t(seed)] = text_of(i);
        table["key" + std::to_string(i % 500)].push_back(int(i));
        list.push_back(std::make_unique<std::string>(text_of(i)));
        if (i % 3 == 0)
            list.pop_front();
    }
    CHECK_OP(tree.size(), ==, 3000);
    for (std::size_t i = 0; i < 3000; i++)
        CHECK(tree.at(i * 7919 % 3001 + std::size_t(seed)) == text_of(i));
    CHECK_OP(table.size(), ==, 500);
    for (auto &entry : table)
        CHECK_OP(entry.second.size(), ==, 6);
    CHECK_OP(list.size(), ==, 2000);
    CHECK(*list.back() == text_of(2999));
}

struct alignas(256) wide {
    char bytes[256];
    explicit wide(char value = 0) { memset(bytes, value, sizeof bytes); }
    ~wide() { CHECK_OP(reinterpret_cast<uintptr_t>(this) % 256, ==, 0); }
};

} // namespace

CASE(containers_hold_their_content) { use_containers(0); }

CASE(containers_in_threads)
{
    in_threads(8, [](int i) {
        for (int round = 0; round < 3; round++)
            use_containers(i + round);
    });
}

CASE(vectors_grow)
{
    std::vector<std::size_t> numbers;
    for (std::size_t i = 0; i < 2000000; i++)
        numbers.push_back(i);
    for (std::size_t i = 0; i < numbers.size(); i++)
        CHECK(numbers[i] == i);
    numbers.resize(10);
    numbers.shrink_to_fit();
    CHECK_OP(numbers.back(), ==, 9);
}

CASE(strings_and_streams)
{
    std::ostringstream stream;
    for (std::size_t i = 0; i < 5000; i++)
        stream << i << ' ' << text_of(i) << '\n';
    std::istringstream input(stream.str());
    std::string line;
    for (std::size_t i = 0; i < 5000; i++) {
        CHECK(bool(std::getline(input, line)));
        CHECK(line == std::to_string(i) + ' ' + text_of(i));
    }
}

CASE(overaligned_types)
{
    std::vector<wide> array(100, wide(7));
    for (char i = 0; i < 100; i++)
        array.emplace_back(i);
    CHECK(array[150].bytes[255] == 50);
    CHECK_OP(reinterpret_cast<uintptr_t>(array.data()) % 256, ==, 0);
    auto one = std::make_unique<wide>('x');
    auto shared = std::make_shared<wide>('y');
    std::unique_ptr<wide[]> several(new wide[17]);
    CHECK(one->bytes[0] == 'x' && shared->bytes[255] == 'y' && several[16].bytes[0] == 0);
}

CASE(objects_move_between_threads)
{
    std::mutex mutex;
    std::condition_variable changed;
    std::list<std::unique_ptr<std::string>> queue;
    const std::size_t count = 20000;
    std::thread producer([&] {
        for (std::size_t i = 0; i < count; i++) {
            auto item = std::make_unique<std::string>(text_of(i));
            std::lock_guard<std::mutex> lock(mutex);
            queue.push_back(std::move(item));
            changed.notify_one();
        }
    });
    for (std::size_t i = 0; i < count; i++) {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return !queue.empty(); });
        std::unique_ptr<std::string> item = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        CHECK(*item == text_of(i));
    }
    producer.join();
}

CASE(exceptions_cross_threads)
{
    for (int round = 0; round < 50; round++) {
        std::vector<std::future<int>> results;
        for (int i = 0; i < 8; i++)
            results.push_back(std::async(std::launch::async, [i]() -> int {
                if (i % 2)
                    throw std::runtime_error(text_of(100 + std::size_t(i)));
                return i;
            }));
        for (int i = 0; i < 8; i++) {
            try {
                CHECK_OP(results[std::size_t(i)].get(), ==, i);
                CHECK_OP(i % 2, ==, 0);
            } catch (const std::runtime_error &error) {
                CHECK(i % 2 == 1 && error.what() == text_of(100 + std::size_t(i)));
            }
        }
    }
}

CASE(exceptions_in_many_threads)
{
    std::atomic<int> caught{0};
    in_threads(8, [&](int) {
        for (int i = 0; i < 500; i++) {
            try {
                std::vector<std::string> partly(10, text_of(99));
                partly.at(std::size_t(HIDE(10))) = "never";
            } catch (const std::out_of_range &) {
                caught++;
            }
        }
    });
    CHECK_OP(caught.load(), ==, 4000);
}

CASE(bad_alloc_leaves_a_container_intact)
{
    std::vector<std::string> words(1000, text_of(200));
    for (int i = 0; i < 100; i++) {
        bool thrown = false;
        try {
            words.reserve(HIDE(words.max_size()));
        } catch (const std::bad_alloc &) {
            thrown = true;
        }
        CHECK(thrown);
        CHECK_OP(words.size(), ==, 1000);
        CHECK(words[999] == text_of(200));
    }
}
