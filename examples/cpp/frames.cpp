#include "frames.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace {

constexpr int LARGEST_SIDE = 16384;

int read_number(std::istream& stream) {
  while (std::isspace(stream.peek()) || stream.peek() == '#') {
    if (stream.get() == '#') {
      stream.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
    }
  }
  int number = 0;
  if (!(stream >> number)) {
    throw std::runtime_error("the video is no stream of PPM pictures: a size is missing");
  }
  return number;
}

constexpr int ONE = 1 << 11;  // of OpenCV's fixed-point weights

// Where a pixel of the target lies between two of the source.
struct Between {
  int before;
  int after;
  int weight_before;
  int weight_after;
};

std::vector<Between> places(int from, int to) {
  std::vector<Between> found;
  for (int target = 0; target < to; ++target) {
    const auto place = static_cast<float>((target + 0.5) * from / to - 0.5);
    int before = static_cast<int>(std::floor(place));
    float share = place - static_cast<float>(before);
    if (before < 0 || before >= from - 1) {
      before = std::clamp(before, 0, from - 1);
      share = 0;
    }
    const auto fixed = [](float weight) { return static_cast<int>(std::lrint(weight * ONE)); };
    found.push_back({before, std::min(before + 1, from - 1), fixed(1 - share), fixed(share)});
  }
  return found;
}

}  // namespace

bool read_ppm(std::istream& stream, Frame& frame) {
  stream >> std::ws;
  if (stream.eof()) {
    return false;
  }
  char magic[2];
  if (!stream.read(magic, 2) || magic[0] != 'P' || magic[1] != '6') {
    throw std::runtime_error("the video is no stream of PPM pictures in colour (P6)");
  }
  frame.width = read_number(stream);
  frame.height = read_number(stream);
  const int largest = read_number(stream);
  if (std::min(frame.width, frame.height) < 1 || std::max(frame.width, frame.height) > LARGEST_SIDE || largest != 255) {
    throw std::runtime_error("a picture of " + std::to_string(frame.width) + " x " + std::to_string(frame.height) +
                             " with values up to " + std::to_string(largest) + " cannot be read");
  }
  stream.get();
  frame.pixels.resize(size_t{3} * frame.width * frame.height);
  if (!stream.read(reinterpret_cast<char*>(frame.pixels.data()), frame.pixels.size())) {
    throw std::runtime_error("the video ends within a picture");
  }
  for (size_t pixel = 0; pixel < frame.pixels.size(); pixel += 3) {
    std::swap(frame.pixels[pixel], frame.pixels[pixel + 2]);  // PPM has RGB
  }
  return true;
}

Frame resized(const Frame& frame, int size) {
  if (frame.width == size && frame.height == size) {
    return frame;
  }
  const auto rows = places(frame.height, size);
  const auto columns = places(frame.width, size);
  Frame result{size, size, std::vector<uint8_t>(size_t{3} * size * size)};
  auto out = result.pixels.begin();
  for (const Between& row : rows) {
    const uint8_t* upper = frame.pixels.data() + size_t{3} * frame.width * row.before;
    const uint8_t* lower = frame.pixels.data() + size_t{3} * frame.width * row.after;
    for (const Between& column : columns) {
      for (int channel = 0; channel < 3; ++channel) {
        const int left = 3 * column.before + channel;
        const int right = 3 * column.after + channel;
        const int above = upper[left] * column.weight_before + upper[right] * column.weight_after;
        const int below = lower[left] * column.weight_before + lower[right] * column.weight_after;
        // OpenCV drops bits before it adds, so that 16-bit multiplications do.
        const int sum = ((row.weight_before * (above >> 4)) >> 16) + ((row.weight_after * (below >> 4)) >> 16);
        *out++ = static_cast<uint8_t>(std::clamp((sum + 2) >> 2, 0, 255));
      }
    }
  }
  return result;
}
