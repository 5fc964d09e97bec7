// Memory for large short-lived arrays. A step allocates and frees gigabytes, mostly the same sizes again and again:
// fresh pages from the system would cost more than the arithmetic on them.
#pragma once

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace secfwt {

// At least `bytes` bytes, not initialised, on a cache line's boundary. Throws std::bad_alloc. Thread-safe.
void* acquire(std::size_t bytes);
// Takes back what acquire(bytes) returned, and keeps it for the next caller: kMostIdle bytes in all, those last used,
// and more as long as all that is in use and idle is below kAmple.
constexpr std::size_t kMostIdle = std::size_t{128} << 20, kAmple = std::size_t{1024} << 20;
void release(void* memory, std::size_t bytes) noexcept;
// Gives what is kept and not in use back to the system.
void trim_memory();
// The whole pages within this memory hold nothing that is still needed; it remains its owner's.
void discard_pages(void* memory, std::size_t bytes) noexcept;

// For std::vector: elements that are not given a value are not initialised.
template <class T>
struct Uninitialized {
  using value_type = T;
  Uninitialized() = default;
  template <class U>
  Uninitialized(const Uninitialized<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(acquire(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) noexcept { release(p, n * sizeof(T)); }
  template <class U>
  void construct(U* p) noexcept {
    ::new (static_cast<void*>(p)) U;
  }
  template <class U, class... Args>
  void construct(U* p, Args&&... args) {
    ::new (static_cast<void*>(p)) U(std::forward<Args>(args)...);
  }
  friend bool operator==(const Uninitialized&, const Uninitialized&) { return true; }
  friend bool operator!=(const Uninitialized&, const Uninitialized&) { return false; }
};

// For values that are all written before they are read.
template <class T>
using Scratch = std::vector<T, Uninitialized<T>>;

}  // namespace secfwt
