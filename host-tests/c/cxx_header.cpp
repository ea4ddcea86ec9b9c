// granule.hpp by itself, in each standard, with exceptions and without.
#include <granule.hpp>
#include <granule.hpp>

#include <map>
#include <vector>

int main()
{
    granule::heap heap(1u << 20);
    std::vector<int, granule::allocator<int>> plain(1000, 7);
    std::vector<int, granule::heap_allocator<int>> own(1000, 7, heap);
    if (plain[999] != own[999] || !heap.contains(own.data()) || heap.contains(plain.data()))
        return 1;
#ifdef GRANULE_HAS_PMR
    granule::memory_resource resource(heap);
    std::pmr::map<int, int> map({{1, 2}}, &resource);
    if (!heap.contains(&*map.begin()) || !resource.is_equal(resource))
        return 2;
#elif __cplusplus >= 201703L
#error "C++17 has resources"
#endif
    return 0;
}
