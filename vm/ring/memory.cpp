#include "ring/memory.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <array>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace secfwt {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kSmallest = 1 << 16;  // what is smaller the C library handles well
constexpr std::size_t kHugePage = 2 << 20;

struct Kept {
  std::mutex mutex;
  std::array<std::vector<void*>, 64> blocks;  // of 2^i bytes
};

Kept& kept() {
  static Kept* const instance = new Kept;  // threads may release memory until the very end
  return *instance;
}

// Sizes are rounded up to powers of two; the pages beyond what is asked for are never touched.
int size_class(std::size_t bytes) { return 64 - __builtin_clzll(bytes - 1); }

// More than `bytes` bytes: an empty array has an address too.
void* allocate(std::size_t bytes, std::size_t alignment) {
  void* const memory = std::aligned_alloc(alignment, (bytes / alignment + 1) * alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* acquire(std::size_t bytes) {
  if (bytes < kSmallest) return allocate(bytes, kLine);
  const int index = size_class(bytes);
  {
    Kept& all = kept();
    std::lock_guard<std::mutex> lock(all.mutex);
    std::vector<void*>& blocks = all.blocks[index];
    if (!blocks.empty()) {
      void* const block = blocks.back();  // the one used last: most likely in the cache
      blocks.pop_back();
      return block;
    }
  }
  const std::size_t size = std::size_t{1} << index;
  void* const block = allocate(size - 1, size < kHugePage ? kLine : kHugePage);
#ifdef __linux__
  // One page fault for 512, and as many fewer entries in the TLB for matrices read by columns.
  if (size >= kHugePage) madvise(block, size, MADV_HUGEPAGE);
#endif
  return block;
}

void release(void* memory, std::size_t bytes) noexcept {
  if (bytes < kSmallest) return std::free(memory);
  Kept& all = kept();
  std::lock_guard<std::mutex> lock(all.mutex);
  try {
    all.blocks[size_class(bytes)].push_back(memory);
  } catch (const std::bad_alloc&) {
    std::free(memory);
  }
}

void trim_memory() {
  Kept& all = kept();
  std::lock_guard<std::mutex> lock(all.mutex);
  for (std::vector<void*>& blocks : all.blocks) {
    for (void* block : blocks) std::free(block);
    blocks.clear();
  }
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
