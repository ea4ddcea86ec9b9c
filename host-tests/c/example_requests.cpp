// A heap for each request: its containers share it, and it ends with all of them at
// once, without a walk through their nodes.
#include <granule.hpp>

#include <cstdio>
#include <memory_resource>
#include <string>
#include <unordered_map>
#include <vector>

static std::size_t answer(int number)
{
    granule::heap heap; // ends last, with whatever is left in it
    granule::memory_resource memory(heap);

    // A container that itself lies in the heap need not be destroyed.
    using Words = std::pmr::unordered_map<std::pmr::string, std::pmr::vector<int>>;
    std::pmr::polymorphic_allocator<Words> place(&memory);
    Words *words = place.allocate(1);
    place.construct(words);
    for (int i = 0; i < 1000; i++) {
        std::pmr::string word("a word that is too long to lie in the string itself ", &memory);
        (*words)[word + char('0' + i % 10) + char('0' + i / 10 % 10) + char('0' + i / 100)]
            .assign(std::size_t(i % 7), number);
    }
    return words->size();
}

int main()
{
    std::size_t words = 0;
    int requests = 0;
    for (; requests < 32; requests++)
        words = answer(requests);
    std::printf("%d requests of %zu words\n", requests, words);
}
