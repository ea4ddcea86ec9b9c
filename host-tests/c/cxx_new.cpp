// Operators new and delete in all their forms, and what they do on failure.
#include "blocks.h"

#include <initializer_list>
#include <new>

#include <malloc.h>
#include <sys/resource.h>

namespace {

std::size_t huge = PTRDIFF_MAX;

std::align_val_t align_of(std::size_t align) { return static_cast<std::align_val_t>(align); }

void *checked(void *block, std::size_t size, std::size_t align)
{
    CHECK(block != nullptr);
    CHECK_OP(reinterpret_cast<uintptr_t>(block) % align, ==, 0);
    CHECK_OP(malloc_usable_size(block), >=, size);
    fill(HIDE(block), 0, size, size);
    verify(block, size, size);
    return block;
}

template <class Body> bool throws_bad_alloc(Body body)
{
    try {
        HIDE(body());
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

int handler_calls;

} // namespace

CASE(plain_and_array_forms)
{
    FOR_SIZES(size, 1, 4 * MIB) {
        std::size_t align = size >= 16 ? __STDCPP_DEFAULT_NEW_ALIGNMENT__ : 8;
        ::operator delete(checked(::operator new(size), size, align));
        ::operator delete[](checked(::operator new[](size), size, align));
        ::operator delete(checked(::operator new(size), size, align), size);
        ::operator delete[](checked(::operator new[](size), size, align), size);
    }
}

CASE(nothrow_forms)
{
    FOR_SIZES(size, 1, 4 * MIB) {
        std::size_t align = size >= 16 ? __STDCPP_DEFAULT_NEW_ALIGNMENT__ : 8;
        ::operator delete(checked(::operator new(size, std::nothrow), size, align), std::nothrow);
        ::operator delete[](checked(::operator new[](size, std::nothrow), size, align),
                            std::nothrow);
    }
}

CASE(aligned_forms)
{
    for (std::size_t align = 1; align <= MIB; align *= 2) {
        for (std::size_t size : {std::size_t(1), align, 3 * align, align + 1, std::size_t(5000)}) {
            std::align_val_t a = align_of(align);
            ::operator delete(checked(::operator new(size, a), size, align), a);
            ::operator delete[](checked(::operator new[](size, a), size, align), a);
            ::operator delete(checked(::operator new(size, a), size, align), size, a);
            ::operator delete[](checked(::operator new[](size, a), size, align), size, a);
        }
    }
}

CASE(aligned_nothrow_forms)
{
    for (std::size_t align = 1; align <= MIB; align *= 2) {
        std::align_val_t a = align_of(align);
        ::operator delete(checked(::operator new(100, a, std::nothrow), 100, align), a,
                          std::nothrow);
        ::operator delete[](checked(::operator new[](100, a, std::nothrow), 100, align), a,
                            std::nothrow);
    }
}

CASE(new_of_zero_bytes_is_unique)
{
    void *blocks[100];
    for (void *&block : blocks) {
        block = ::operator new(0);
        CHECK(block != nullptr);
        for (void **other = blocks; other != &block; other++)
            CHECK(*other != block);
    }
    for (void *block : blocks)
        ::operator delete(block);
    ::operator delete(::operator new(0), std::size_t(0));
}

CASE(delete_of_null_does_nothing)
{
    auto null = [] { return HIDE(static_cast<void *>(nullptr)); };
    errno = 77;
    ::operator delete(null());
    ::operator delete[](null());
    ::operator delete(null(), std::size_t(8));
    ::operator delete[](null(), std::size_t(8));
    ::operator delete(null(), std::nothrow);
    ::operator delete(null(), align_of(64));
    ::operator delete[](null(), std::size_t(64), align_of(64));
    CHECK_OP(errno, ==, 77);
}

CASE(an_impossible_size_throws_bad_alloc)
{
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(huge)); }));
    CHECK(throws_bad_alloc([] { return ::operator new[](HIDE(huge)); }));
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(SIZE_MAX)); }));
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(huge), align_of(64)); }));
    CHECK(throws_bad_alloc([] { return ::operator new[](HIDE(huge), align_of(MIB)); }));
    CHECK(throws_bad_alloc([] { return new long[HIDE(huge / 8)]; }));
    CHECK(throws_bad_alloc([] { return new long[HIDE(SIZE_MAX / 2)]; }));
}

CASE(an_impossible_size_is_null_for_nothrow)
{
    CHECK(::operator new(HIDE(huge), std::nothrow) == nullptr);
    CHECK(::operator new[](HIDE(SIZE_MAX), std::nothrow) == nullptr);
    CHECK(::operator new(HIDE(huge), align_of(64), std::nothrow) == nullptr);
    CHECK(::operator new[](HIDE(huge), align_of(MIB), std::nothrow) == nullptr);
}

CASE(the_new_handler_is_called_until_it_gives_up)
{
    std::set_new_handler([] {
        if (++handler_calls == 3)
            std::set_new_handler(nullptr);
    });
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(huge)); }));
    CHECK_OP(handler_calls, ==, 3);
    CHECK(throws_bad_alloc([] { return ::operator new(HIDE(huge)); }));
    CHECK_OP(handler_calls, ==, 3);
}

CASE(the_new_handler_serves_every_form)
{
    auto once = [] {
        handler_calls++;
        std::set_new_handler(nullptr);
    };
    int expected = 0;
    auto check = [&](void *(*body)()) {
        std::set_new_handler(once);
        try {
            CHECK(body() == nullptr);
        } catch (const std::bad_alloc &) {
        }
        CHECK_OP(handler_calls, ==, ++expected);
    };
    check([] { return ::operator new(HIDE(huge)); });
    check([] { return ::operator new[](HIDE(huge)); });
    check([] { return ::operator new(HIDE(huge), std::nothrow); });
    check([] { return ::operator new[](HIDE(huge), std::nothrow); });
    check([] { return ::operator new(HIDE(huge), align_of(64)); });
    check([] { return ::operator new[](HIDE(huge), align_of(64)); });
    check([] { return ::operator new(HIDE(huge), align_of(64), std::nothrow); });
    check([] { return ::operator new[](HIDE(huge), align_of(64), std::nothrow); });
}

struct out_of_budget : std::bad_alloc {
    int code = 42;
};

CASE(the_new_handler_may_throw)
{
    std::set_new_handler([] { throw out_of_budget(); });
    int code = 0;
    try {
        HIDE(::operator new(HIDE(huge)));
    } catch (const out_of_budget &error) {
        code = error.code;
    }
    CHECK_OP(code, ==, 42);
    code = 0;
    try {
        HIDE(::operator new[](HIDE(huge), align_of(128)));
    } catch (const out_of_budget &error) {
        code = error.code;
    }
    CHECK_OP(code, ==, 42);
    // The nothrow forms turn it into a null pointer.
    CHECK(::operator new(HIDE(huge), std::nothrow) == nullptr);
    CHECK(::operator new(HIDE(huge), align_of(64), std::nothrow) == nullptr);
}

static char *ballast;

CASE(the_new_handler_may_free_memory)
{
    ballast = new char[256 * MIB];
    struct rlimit limit = {address_space() + 64 * MIB, RLIM_INFINITY};
    CHECK_OP(setrlimit(RLIMIT_AS, &limit), ==, 0);
    std::set_new_handler([] {
        handler_calls++;
        delete[] ballast;
        ballast = nullptr;
        std::set_new_handler(nullptr);
    });
    char *block = new char[128 * MIB];
    CHECK_OP(handler_calls, ==, 1);
    fill(block, 0, 128 * MIB, 1);
    delete[] block;
}
