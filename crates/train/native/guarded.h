// How our C++ answers Rust: an exception becomes a null pointer and a message in the caller's buffer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstring>
#include <exception>

namespace lsgan {

inline void say(const std::exception& e, char* message, size_t message_bytes) {
  std::strncpy(message, e.what(), message_bytes - 1);
  message[message_bytes - 1] = '\0';
}

template <typename Make>
at::Tensor* guarded(char* message, size_t message_bytes, Make make) {
  try {
    return new at::Tensor(make());
  } catch (const std::exception& e) {
    say(e, message, message_bytes);
    return nullptr;
  }
}

}  // namespace lsgan
