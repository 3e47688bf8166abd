// Frames of a video, from a stream of PPM pictures: what any tool writes and no library need read.
#pragma once

#include <cstdint>
#include <istream>
#include <vector>

struct Frame {
  int height = 0;
  int width = 0;
  std::vector<uint8_t> pixels;  // (height, width, 3), BGR
};

// Reads the next picture into the frame; false at the end of the stream. Throws std::runtime_error where it is cut off
// or is none of 8 bits in colour (P6, 255).
bool read_ppm(std::istream& stream, Frame& frame);

// The frame in size x size, bilinearly, as cv::resize with INTER_LINEAR has it: to the last bit where frames get smaller,
// and on x86; elsewhere but for a level here and there.
Frame resized(const Frame& frame, int size);
