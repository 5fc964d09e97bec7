#include "ring/memory.h"

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <mutex>
#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace secfwt {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kSmallest = 1 << 16;  // what is smaller the C library handles well
constexpr std::size_t kHugePage = 2 << 20;

struct Block {
  void* memory;
  std::uint64_t released;  // how many were before it
};

// Sizes are rounded up to powers of two; pages beyond what is asked for are never touched.
struct Kept {
  std::mutex mutex;
  std::array<std::deque<Block>, 64> blocks;  // of 2^i bytes, the one that was released last at the back
  std::size_t bytes = 0, in_use = 0;
  std::uint64_t released = 0;
};

Kept& kept() {
  static Kept* const instance = new Kept;  // threads may release memory until the very end
  return *instance;
}

int size_class(std::size_t bytes) { return 64 - __builtin_clzll(bytes - 1); }

// More than `bytes` bytes: an empty array has an address too.
void* allocate(std::size_t bytes) {
  void* const memory = std::aligned_alloc(kLine, (bytes / kLine + 1) * kLine);
  if (!memory) throw std::bad_alloc();
  return memory;
}

// Whole huge pages of the system's, which get back what the C library's heap might hold on to: one page fault for 512,
// and as many fewer entries in the TLB for matrices read by columns.
void* map(std::size_t size) {
  const std::size_t room = size + kHugePage;
  void* const memory = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  const auto begin = reinterpret_cast<std::uintptr_t>(memory), first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (first > begin) munmap(memory, first - begin);
  munmap(reinterpret_cast<void*>(first + size), begin + room - first - size);
  void* const block = reinterpret_cast<void*>(first);
#ifdef __linux__
  madvise(block, size, MADV_HUGEPAGE);
#endif
  return block;
}

void give_back(void* block, int index) {
  const std::size_t size = std::size_t{1} << index;
  if (size < kHugePage)
    std::free(block);
  else
    munmap(block, size);
}

// Of all that is kept what has not been in use for the longest time: what computes has gone on to other sizes.
void give_oldest_back(Kept& all) {
  int oldest = -1;
  for (int i = 0; i < static_cast<int>(all.blocks.size()); ++i)
    if (!all.blocks[i].empty() && (oldest < 0 || all.blocks[i].front().released < all.blocks[oldest].front().released))
      oldest = i;
  give_back(all.blocks[oldest].front().memory, oldest);
  all.blocks[oldest].pop_front();
  all.bytes -= std::size_t{1} << oldest;
}

}  // namespace

void* acquire(std::size_t bytes) {
  if (bytes < kSmallest) return allocate(bytes);
  const int index = size_class(bytes);
  const std::size_t size = std::size_t{1} << index;
  Kept& all = kept();
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.in_use += size;
    std::deque<Block>& blocks = all.blocks[index];
    if (!blocks.empty()) {
      void* const block = blocks.back().memory;  // the one used last: most likely in the cache
      blocks.pop_back();
      all.bytes -= size;
      return block;
    }
  }
  try {
    return size < kHugePage ? allocate(size - 1) : map(size);
  } catch (const std::bad_alloc&) {
    std::lock_guard<std::mutex> lock(all.mutex);
    all.in_use -= size;
    throw;
  }
}

void release(void* memory, std::size_t bytes) noexcept {
  if (bytes < kSmallest) return std::free(memory);
  const int index = size_class(bytes);
  const std::size_t size = std::size_t{1} << index;
  Kept& all = kept();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.in_use -= size;
  try {
    all.blocks[index].push_back({memory, all.released++});
  } catch (const std::bad_alloc&) {
    return give_back(memory, index);
  }
  all.bytes += size;
  while (all.bytes > kMostIdle && all.in_use + all.bytes > kAmple) give_oldest_back(all);
}

void trim_memory() {
  Kept& all = kept();
  std::lock_guard<std::mutex> lock(all.mutex);
  while (all.bytes > 0) give_oldest_back(all);
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

void discard_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef __linux__
  constexpr std::size_t page = 4096;
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#endif
}

}  // namespace secfwt
