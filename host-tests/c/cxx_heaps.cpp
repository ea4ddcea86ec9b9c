// granule.hpp: resources and allocators over heaps, pools and the process's heap.
#include "check.h"

#include <granule.hpp>

#include <atomic>
#include <list>
#include <map>
#include <memory_resource>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

// Weak: a program to be preloaded is linked without the library.
#pragma weak free_sized
#pragma weak free_aligned_sized
#pragma weak granule_heap_new
#pragma weak granule_heap_new_with
#pragma weak granule_heap_destroy
#pragma weak granule_heap_reset
#pragma weak granule_heap_malloc
#pragma weak granule_heap_aligned_alloc
#pragma weak granule_heap_free_sized
#pragma weak granule_heap_free_aligned_sized
#pragma weak granule_heap_contains
#pragma weak granule_heap_of
#pragma weak granule_heap_get_stats
#pragma weak granule_pool_create
#pragma weak granule_pool_create_fixed
#pragma weak granule_get_stats

namespace {

std::size_t live(const granule::heap &heap)
{
    granule_stats now;
    CHECK_OP(granule_heap_get_stats(heap.get(), &now), ==, 0);
    return now.live_bytes;
}

// The error that `work` ends with: 1 bad_array_new_length, 2 bad_alloc, 0 none.
template <class Work> int error_of(Work work)
{
    try {
        work();
    } catch (const std::bad_array_new_length &) {
        return 1;
    } catch (const std::bad_alloc &) {
        return 2;
    }
    return 0;
}

struct alignas(256) Wide {
    unsigned char bytes[300];
};

// Fills containers of every shape, all of whose memory has to be in `heap`.
void use(granule::heap &heap, std::pmr::memory_resource *memory)
{
    std::pmr::vector<int> vector(memory);
    std::pmr::list<std::pmr::string> list(memory);
    std::pmr::map<int, std::pmr::vector<Wide>> map(memory);
    std::pmr::unordered_map<std::pmr::string, int> table(memory);
    for (int i = 0; i < 3000; i++) {
        vector.push_back(i);
        list.emplace_back(std::size_t(i % 200), char('a' + i % 26));
        if (i % 50 == 0)
            map[i].resize(std::size_t(i % 9));
        table[list.back()] = i;
        if (i % 3 == 0)
            list.pop_front();
    }
    CHECK(heap.contains(vector.data()) && heap.contains(&list.back()));
    CHECK(heap.contains(&*map.begin()) && heap.contains(&*table.begin()));
    CHECK(heap.contains(map[8 * 50].data()));
    CHECK((uintptr_t)map[8 * 50].data() % 256 == 0);
    CHECK(vector[2999] == 2999 && table.size() > 100);
}

} // namespace

CASE(containers_of_a_resource_live_in_its_heap)
{
    granule::heap kinds[] = {granule::heap(), granule::heap(0), granule::heap(64 * MIB)};
    for (granule::heap &heap : kinds) {
        granule::memory_resource memory(heap);
        use(heap, &memory);
        CHECK_OP(live(heap), ==, 0);
        granule::heap inner(16 * MIB, kinds[2]);
        granule::memory_resource inside(inner);
        use(inner, &inside);
    }
}

CASE(every_size_and_alignment_goes_back_by_size)
{
    granule::heap heap(0);
    granule::memory_resource memory(heap);
    for (std::pmr::memory_resource *each :
         {static_cast<std::pmr::memory_resource *>(&memory), granule::process_resource()}) {
        for (std::size_t align = 1; align <= 64 * 1024; align *= 4) {
            for (std::size_t size = 0; size < 6 * MIB; size += size / 3 + 1) {
                void *blocks[3];
                for (void *&block : blocks) {
                    block = each->allocate(size, align);
                    CHECK(block != nullptr && (uintptr_t)block % align == 0);
                    memset(block, 0x5a, size);
                }
                for (void *block : blocks)
                    each->deallocate(block, size, align);
            }
        }
    }
    CHECK_OP(live(heap), ==, 0);
}

CASE(resources_are_equal_by_their_heap)
{
    granule::heap one, two;
    granule::memory_resource a(one), b(one), c(two);
    CHECK(a == b && a != c && a != *granule::process_resource());
    CHECK(*granule::process_resource() == *granule::process_resource());
    CHECK(*granule::process_resource() != a && a != *std::pmr::new_delete_resource());
    std::pmr::set_default_resource(granule::process_resource());
    std::pmr::vector<int> vector(1000, 1);
    CHECK(granule_heap_of(vector.data()) == nullptr);
}

CASE(a_heap_ends_with_containers_that_are_left)
{
    // The tier full has up to 256 MiB of freed blocks wait, whose runs are up to a
    // fourth longer and count as live; more than that is freed here, then.
    const char *tier = getenv("GRANULE_CHECK");
    const bool full = tier != nullptr && strcmp(tier, "full") == 0;
    const size_t waiting = full ? 336 * MIB : 0;
    granule_stats before, during, after;
    granule_get_stats(&before);
    for (int round = 0; round < (full ? 100 : 20); round++) {
        granule::heap heap;
        granule::memory_resource memory(heap);
        using List = std::pmr::list<std::pmr::string>;
        std::pmr::polymorphic_allocator<List> place(&memory);
        List *list = place.allocate(1);
        place.construct(list);
        for (int i = 0; i < 20000; i++)
            list->emplace_back(100, 'x');
        CHECK_OP(live(heap), >, 2 * MIB);
        granule_get_stats(&during);
        CHECK_OP(during.live_bytes, >, before.live_bytes + 2 * MIB);
    }
    granule_get_stats(&after);
    CHECK_OP(after.live_bytes, <, before.live_bytes + waiting + MIB / 4);
}

CASE(a_reset_ends_blocks_and_keeps_the_heap)
{
    granule::heap heap(0);
    granule::memory_resource memory(heap);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++)
            memset(memory.allocate(500), i, 500);
        CHECK_OP(live(heap), >=, 500000);
        CHECK(heap.reset());
        CHECK_OP(live(heap), ==, 0);
    }
    granule::heap inner(0, heap);
    CHECK(!heap.reset());
}

CASE(handles_move)
{
    granule::heap one(0), two(0);
    granule_heap_t *const first = one.get(), *const second = two.get();
    granule::heap moved(std::move(one));
    CHECK(one.get() == nullptr && moved.get() == first);
    two = std::move(moved);
    CHECK(two.get() == first && moved.get() == nullptr);
    granule::heap &same = two;
    two = std::move(same);
    CHECK(two.get() == first);
    CHECK(second != first);
    granule_heap_t *const given = two.release();
    CHECK(two.get() == nullptr && given == first);
    CHECK(granule::heap::adopt(given).get() == first);
}

CASE(allocators_move_with_their_containers)
{
    granule::heap one(0), two(0);
    using Vector = std::vector<std::size_t, granule::heap_allocator<std::size_t>>;
    Vector a(1000, 1, one), b(1000, 2, two);
    const std::size_t *const data = a.data();
    // A move takes memory and heap along.
    Vector moved(std::move(a));
    CHECK(moved.data() == data && moved.get_allocator().handle() == one.get());
    b = std::move(moved);
    CHECK(b.data() == data && b.get_allocator().handle() == one.get());
    CHECK_OP(live(two), ==, 0);
    // A copy is made where its origin is, an assigned one where the target is.
    Vector c(b), d(two);
    d = b;
    CHECK(one.contains(c.data()) && two.contains(d.data()) && c == d);
    swap(c, d);
    CHECK(two.contains(c.data()) && one.contains(d.data()));
    // Between heaps values move one by one.
    Vector e(std::move(c), granule::heap_allocator<std::size_t>(one));
    CHECK(one.contains(e.data()) && e.size() == 1000);
    CHECK(e.get_allocator() == d.get_allocator() && e.get_allocator() != Vector(two).get_allocator());

    using Pair = std::pair<const int, int>;
    std::map<int, int, std::less<int>, granule::heap_allocator<Pair>> map(two);
    std::list<int, granule::heap_allocator<int>> list(two);
    for (int i = 0; i < 2000; i++) {
        map[i] = i;
        list.push_front(i);
    }
    auto spliced = std::list<int, granule::heap_allocator<int>>(two);
    spliced.splice(spliced.begin(), list);
    CHECK(spliced.size() == 2000 && two.contains(&spliced.back()) && map.at(1999) == 1999);
}

CASE(the_stateless_allocator_is_the_process_heap)
{
    static_assert(std::allocator_traits<granule::allocator<int>>::is_always_equal::value, "");
    static_assert(std::is_empty<granule::allocator<int>>::value, "");
    std::unordered_map<int, int, std::hash<int>, std::equal_to<int>,
                       granule::allocator<std::pair<const int, int>>>
        table;
    std::vector<Wide, granule::allocator<Wide>> wide(100);
    for (int i = 0; i < 5000; i++)
        table[i] = i;
    CHECK((uintptr_t)wide.data() % 256 == 0 && granule_heap_of(wide.data()) == nullptr);
    CHECK(granule::allocator<int>() == granule::allocator<char>() && table.at(4999) == 4999);
}

CASE(what_cannot_be_had_throws_and_nothing_is_lost)
{
    granule::heap heap(2 * MIB);
    granule::memory_resource memory(heap);
    std::pmr::vector<char> vector(&memory);
    vector.assign(1000, 'x');
    CHECK_OP(error_of([&] { vector.reserve(8 * MIB); }), ==, 2);
    CHECK(vector.size() == 1000 && vector[999] == 'x');
    std::pmr::list<std::pmr::string> list(&memory);
    CHECK_OP(error_of([&] { for (;;) list.emplace_back(1000, 'y'); }), ==, 2);
    CHECK_OP(list.size(), >, 500);
    list.clear();
    vector.reserve(100000);
    CHECK_OP(error_of([&] { HIDE(memory.allocate(SIZE_MAX / 2, 64)); }), ==, 2);
    CHECK_OP(error_of([&] { HIDE(memory.allocate(SIZE_MAX - 8, 8)); }), ==, 2);
    granule::heap_allocator<long> own(heap);
    CHECK_OP(error_of([&] { own.allocate(SIZE_MAX / 4); }), ==, 1);
    granule::allocator<long> process;
    CHECK_OP(error_of([&] { process.allocate(SIZE_MAX / 4); }), ==, 1);
    CHECK_OP(error_of([&] { process.allocate(SIZE_MAX / 16); }), ==, 2);
}

CASE(heaps_that_cannot_be_throw)
{
    char small[64];
    CHECK_OP(error_of([] { granule::heap heap(4096); }), ==, 2);
    CHECK_OP(error_of([&] { granule::heap heap(small, sizeof small); }), ==, 2);
    CHECK_OP(error_of([] { granule::heap heap(granule_pool_policy{}); }), ==, 2);
    CHECK_OP(error_of([] { granule::heap::adopt(nullptr); }), ==, 2);
}

CASE(a_pool_serves_from_its_buffer)
{
    static unsigned char buffer[4 * MIB];
    granule::heap pool(buffer, sizeof buffer);
    granule::memory_resource memory(pool);
    use(pool, &memory);
    std::pmr::string text(100000, 'z', &memory);
    CHECK((unsigned char *)text.data() > buffer);
    CHECK((unsigned char *)text.data() < buffer + sizeof buffer);
    CHECK_OP(error_of([&] { text.reserve(sizeof buffer); }), ==, 2);
}

CASE(threads_share_a_resource)
{
    granule::heap heap(0);
    granule::memory_resource memory(heap);
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([&] { use(heap, &memory); });
    for (std::thread &thread : threads)
        thread.join();
    CHECK_OP(live(heap), ==, 0);
}
