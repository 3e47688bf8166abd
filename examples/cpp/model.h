// A model that `mnad export --format openvino` wrote: what it says of itself, and its two graphs.
#pragma once

#include <openvino/openvino.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// What scoring makes of a window, before it is one number.
struct Measured {
  float psnr;          // dB
  float distance;      // D; 0 without a memory
  float update_error;  // E_t
};

class Model {
 public:
  // Throws std::runtime_error or ov::Exception where a file is missing or not what was exported.
  explicit Model(const std::filesystem::path& folder, int threads = 0);

  // What the export says of itself, such as "size"; throws where it does not say that.
  std::string said(const std::string& name) const;
  double number(const std::string& name) const;
  bool says(const std::string& name) const;

  // Measures the last frame of a window, (window, size, size, 3) bytes, BGR.
  Measured score(const std::vector<uint8_t>& window);

  // Moves the items towards the queries of the window that was scored last.
  void update_items();

 private:
  std::shared_ptr<ov::Model> graph_;
  ov::InferRequest score_;
  std::optional<ov::InferRequest> update_;  // of a model with a memory
  ov::Shape pixels_;
  ov::Tensor items_;  // (1, M, C), of this stream alone
};
