// granule.hpp: granule's heaps for the containers of C++.
//
//   granule::heap             owns a heap or pool, and ends it with all blocks
//   granule::memory_resource  a std::pmr::memory_resource over one (C++17)
//   granule::heap_allocator   a standard allocator over one
//   granule::process_resource, granule::allocator
//                             the same over the process's heap, without a state
//
// C++11 or later, and nothing to link but what granule.h needs. Frees say sizes, so
// that a heap need not look them up. Memory that cannot be had is std::bad_alloc, a
// length that cannot be std::bad_array_new_length; new-handlers are not called.
// Without exceptions both are std::abort. Windows has the process's heap alone.
#ifndef GRANULE_HPP
#define GRANULE_HPP

#include <cstddef>
#include <cstdlib>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

#include "granule.h"

#if defined(_MSVC_LANG) ? _MSVC_LANG >= 201703L : __cplusplus >= 201703L
#if __has_include(<memory_resource>)
#include <memory_resource>
#define GRANULE_HAS_PMR 1
#endif
#endif

namespace granule {

namespace detail {

// What malloc's blocks are aligned to, from 16 bytes on.
constexpr std::size_t usual_align = 16;

template <class Error> [[noreturn]] inline void raise()
{
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
    throw Error();
#else
    std::abort();
#endif
}

inline void *present(void *block)
{
    if (block == nullptr)
        raise<std::bad_alloc>();
    return block;
}

// Whether malloc's blocks of so many bytes are aligned enough.
constexpr bool is_usual(std::size_t bytes, std::size_t align)
{
    return align <= (bytes > 8 ? usual_align : 8);
}

inline void *allocate(std::size_t bytes, std::size_t align)
{
#ifdef _WIN32
    return present(is_usual(bytes, align) ? granule_malloc(bytes)
                                          : granule_aligned_alloc(align, bytes));
#else
    return present(is_usual(bytes, align) ? std::malloc(bytes) : ::memalign(align, bytes));
#endif
}

inline void deallocate(void *block, std::size_t bytes, std::size_t align) noexcept
{
#ifdef _WIN32
    is_usual(bytes, align) ? granule_free_sized(block, bytes)
                           : granule_free_aligned_sized(block, align, bytes);
#else
    is_usual(bytes, align) ? ::free_sized(block, bytes)
                           : ::free_aligned_sized(block, align, bytes);
#endif
}

template <class T> std::size_t bytes_of(std::size_t count)
{
    if (count > (std::numeric_limits<std::size_t>::max)() / sizeof(T))
        raise<std::bad_array_new_length>();
    return count * sizeof(T);
}

#ifndef _WIN32

inline void *allocate(granule_heap_t *heap, std::size_t bytes, std::size_t align)
{
    return present(is_usual(bytes, align) ? granule_heap_malloc(heap, bytes)
                                          : granule_heap_aligned_alloc(heap, align, bytes));
}

inline void deallocate(granule_heap_t *heap, void *block, std::size_t bytes,
                       std::size_t align) noexcept
{
    is_usual(bytes, align) ? granule_heap_free_sized(heap, block, bytes)
                           : granule_heap_free_aligned_sized(heap, block, align, bytes);
}

#endif

} // namespace detail

// A standard allocator over the process's heap: all of them are one.
template <class T> class allocator {
public:
    using value_type = T;
    using is_always_equal = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;

    constexpr allocator() noexcept = default;
    template <class U> constexpr allocator(const allocator<U> &) noexcept {}

    // Throws std::bad_alloc or std::bad_array_new_length.
    T *allocate(std::size_t count)
    {
        return static_cast<T *>(detail::allocate(detail::bytes_of<T>(count), alignof(T)));
    }

    void deallocate(T *block, std::size_t count) noexcept
    {
        detail::deallocate(block, count * sizeof(T), alignof(T));
    }
};

template <class T, class U>
constexpr bool operator==(const allocator<T> &, const allocator<U> &) noexcept
{
    return true;
}

template <class T, class U>
constexpr bool operator!=(const allocator<T> &, const allocator<U> &) noexcept
{
    return false;
}

#ifndef _WIN32

// Owns a heap or a pool, which ends with it, and all of its blocks at once: objects
// in them are not destroyed, and containers that are left must not be used, nor
// destroyed, from then on. Any number of threads may use a heap, one ends it.
class heap {
public:
    // A heap on memory of the process's heap. Throws std::bad_alloc.
    heap() : handle_(owned(granule_heap_new())) {}

    // On the system's memory, or inside of `outer`, which has to outlive it, with a
    // cap in bytes (0: none), see granule_heap_new_with. Throws std::bad_alloc.
    explicit heap(std::size_t cap) : handle_(owned(granule_heap_new_with(cap, nullptr))) {}
    heap(std::size_t cap, const heap &outer)
        : handle_(owned(granule_heap_new_with(cap, outer.handle_)))
    {
    }

    // A pool that has `buffer` and nothing else, or one on the policy's memory. Throws
    // std::bad_alloc for whatever reason granule.h gives.
    heap(void *buffer, std::size_t bytes) : handle_(nullptr)
    {
        granule_pool_create_fixed(buffer, bytes, &handle_);
        owned(handle_);
    }
    explicit heap(const granule_pool_policy &policy) : handle_(nullptr)
    {
        granule_pool_create(&policy, &handle_);
        owned(handle_);
    }

    // Takes a handle over. Throws std::bad_alloc if it is null.
    static heap adopt(granule_heap_t *handle) { return heap(owned(handle), 0); }

    heap(heap &&other) noexcept : handle_(other.release()) {}
    heap &operator=(heap &&other) noexcept
    {
        heap(std::move(other)).swap(*this);
        return *this;
    }
    heap(const heap &) = delete;
    heap &operator=(const heap &) = delete;

    // Heaps inside of it must have ended: it would live on.
    ~heap()
    {
        if (handle_ != nullptr)
            granule_heap_destroy(handle_);
    }

    // Ends all blocks; the heap is as new. False, and nothing happens, while there
    // are heaps inside of it; also if the system refused to take memory back.
    bool reset() noexcept { return granule_heap_reset(handle_) == 0; }

    // The handle, for the functions of granule.h; null after a move.
    granule_heap_t *get() const noexcept { return handle_; }

    // Gives the handle up.
    granule_heap_t *release() noexcept
    {
        granule_heap_t *handle = handle_;
        handle_ = nullptr;
        return handle;
    }

    bool contains(const void *pointer) const noexcept
    {
        return granule_heap_contains(handle_, pointer) != 0;
    }

    void swap(heap &other) noexcept { std::swap(handle_, other.handle_); }

private:
    heap(granule_heap_t *handle, int) noexcept : handle_(handle) {}

    static granule_heap_t *owned(granule_heap_t *handle)
    {
        detail::present(handle);
        return handle;
    }

    granule_heap_t *handle_;
};

// A standard allocator over a heap, which has to outlive what it allocates. Moves and
// swaps of containers take their heap along, assigned copies keep their own; two are
// equal if their heap is the same.
template <class T> class heap_allocator {
public:
    using value_type = T;
    using is_always_equal = std::false_type;
    using propagate_on_container_copy_assignment = std::false_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    heap_allocator(const heap &heap) noexcept : handle_(heap.get()) {}
    explicit heap_allocator(granule_heap_t *handle) noexcept : handle_(handle) {}
    template <class U>
    heap_allocator(const heap_allocator<U> &other) noexcept : handle_(other.handle())
    {
    }

    // Throws std::bad_alloc or std::bad_array_new_length.
    T *allocate(std::size_t count)
    {
        const std::size_t bytes = detail::bytes_of<T>(count);
        return static_cast<T *>(detail::allocate(handle_, bytes, alignof(T)));
    }

    void deallocate(T *block, std::size_t count) noexcept
    {
        detail::deallocate(handle_, block, count * sizeof(T), alignof(T));
    }

    granule_heap_t *handle() const noexcept { return handle_; }

private:
    granule_heap_t *handle_;
};

template <class T, class U>
bool operator==(const heap_allocator<T> &a, const heap_allocator<U> &b) noexcept
{
    return a.handle() == b.handle();
}

template <class T, class U>
bool operator!=(const heap_allocator<T> &a, const heap_allocator<U> &b) noexcept
{
    return a.handle() != b.handle();
}

#endif

#ifdef GRANULE_HAS_PMR

namespace detail {

class process_resource final : public std::pmr::memory_resource {
    void *do_allocate(std::size_t bytes, std::size_t align) override
    {
        return detail::allocate(bytes, align);
    }
    void do_deallocate(void *block, std::size_t bytes, std::size_t align) override
    {
        detail::deallocate(block, bytes, align);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
        return this == &other;
    }
};

} // namespace detail

// The resource over the process's heap. It lives to the program's end, after all
// destructors: std::pmr::set_default_resource may have it.
inline std::pmr::memory_resource *process_resource() noexcept
{
    // Never destroyed.
    alignas(detail::process_resource) static unsigned char place[sizeof(detail::process_resource)];
    static std::pmr::memory_resource *const only = ::new (place) detail::process_resource;
    return only;
}

#ifndef _WIN32

// A resource over a heap, which has to outlive what it allocates. Equal to those over
// the same heap.
class memory_resource : public std::pmr::memory_resource {
public:
    explicit memory_resource(const heap &heap) noexcept : handle_(heap.get()) {}
    explicit memory_resource(granule_heap_t *handle) noexcept : handle_(handle) {}

    granule_heap_t *handle() const noexcept { return handle_; }

private:
    void *do_allocate(std::size_t bytes, std::size_t align) override
    {
        return detail::allocate(handle_, bytes, align);
    }
    void do_deallocate(void *block, std::size_t bytes, std::size_t align) override
    {
        detail::deallocate(handle_, block, bytes, align);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
#if defined(__cpp_rtti) || defined(_CPPRTTI)
        const auto *same = dynamic_cast<const memory_resource *>(&other);
        return same != nullptr && same->handle_ == handle_;
#else
        return this == &other;
#endif
    }

    granule_heap_t *handle_;
};

#endif
#endif

} // namespace granule

#endif
