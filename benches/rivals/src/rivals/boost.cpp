// The message queue of Boost.Interprocess, as functions that no exception leaves.

#include <boost/interprocess/ipc/message_queue.hpp>

#include <cstddef>
#include <cstdint>

using boost::interprocess::create_only;
using boost::interprocess::message_queue;

extern "C" {

// Makes a queue for `count` words, whose name is taken away at once: a child inherits it. Null: it could not.
void *boost_queue_new(const char *name, std::size_t count) {
  try {
    auto *queue = new message_queue(create_only, name, count, sizeof(std::uint64_t));
    message_queue::remove(name);
    return queue;
  } catch (...) {
    return nullptr;
  }
}

void boost_queue_delete(void *queue) {
  delete static_cast<message_queue *>(queue);
}

// 0: sent, -1: an exception.
int boost_queue_send(void *queue, std::uint64_t word) {
  try {
    static_cast<message_queue *>(queue)->send(&word, sizeof word, 0);
    return 0;
  } catch (...) {
    return -1;
  }
}

static int received(std::size_t length) {
  return length == sizeof(std::uint64_t) ? 0 : -1;
}

// 0: received, -1: an exception, or no word.
int boost_queue_recv(void *queue, std::uint64_t *word) {
  std::size_t length;
  unsigned int priority;
  try {
    static_cast<message_queue *>(queue)->receive(word, sizeof *word, length, priority);
    return received(length);
  } catch (...) {
    return -1;
  }
}

// The same, 1: there is none.
int boost_queue_try_recv(void *queue, std::uint64_t *word) {
  std::size_t length;
  unsigned int priority;
  try {
    auto *boost = static_cast<message_queue *>(queue);
    return boost->try_receive(word, sizeof *word, length, priority) ? received(length) : 1;
  } catch (...) {
    return -1;
  }
}
}
