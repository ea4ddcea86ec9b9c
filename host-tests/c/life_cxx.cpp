// C++ objects with static and thread storage that allocate as they go.
#include "blocks.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

std::string text_of(std::size_t i) { return std::string(40 + i % 300, char('a' + i % 26)); }

// Built before main, destroyed after it.
struct registry {
    std::map<std::string, std::string> entries;
    registry()
    {
        for (std::size_t i = 0; i < 500; i++)
            entries[std::to_string(i)] = text_of(i);
    }
    ~registry()
    {
        for (std::size_t i = 0; i < 500; i++)
            if (entries[std::to_string(i)] != text_of(i))
                _exit(3);
        entries["last"] = text_of(1);
    }
};

registry global;
std::atomic<int> destroyed{0};

// A thread_local whose destructor allocates, and wakes another thread_local.
struct second {
    std::vector<std::string> words;
    ~second()
    {
        for (std::size_t i = 0; i < 50; i++)
            words.push_back(text_of(i));
        CHECK(words.back() == text_of(49));
        destroyed++;
    }
};

struct first {
    std::unique_ptr<std::string> word;
    ~first();
};

thread_local second late;
thread_local first early;

first::~first()
{
    auto copy = std::make_unique<std::string>(*word + text_of(5));
    late.words.push_back(*copy); // constructs `late` while the thread ends
    destroyed++;
}

void use(std::size_t i) { early.word = std::make_unique<std::string>(text_of(i)); }

} // namespace

CASE(static_objects_live_around_main)
{
    CHECK_OP(global.entries.size(), ==, 500);
    static registry local;
    CHECK(local.entries["7"] == text_of(7));
}

CASE(thread_local_destructors_allocate)
{
    std::size_t before = 0;
    for (std::size_t i = 0; i < 500; i++) {
        std::thread one(use, i), two(use, i + 1);
        one.join();
        two.join();
        if (i == 50)
            before = resident();
    }
    CHECK_OP(destroyed.load(), ==, 2000);
    CHECK_OP(resident(), <=, before + before / 4 + 2 * MIB);
}

CASE(thread_local_destructors_of_main_allocate)
{
    use(3);
    late.words.push_back(text_of(2));
}
