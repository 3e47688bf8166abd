#include "model.h"

#include <cstring>
#include <fstream>
#include <stdexcept>

namespace fs = std::filesystem;

namespace {

constexpr const char* PLACE = "mnad";  // of what the export says of itself

std::shared_ptr<ov::Model> read_graph(ov::Core& core, const fs::path& file) {
  for (const char* suffix : {".xml", ".bin"}) {
    const fs::path part = fs::path(file).replace_extension(suffix);
    if (!fs::is_regular_file(part)) {
      throw std::runtime_error(part.string() +
                               " is missing; export the model again: mnad export RUN --format openvino");
    }
  }
  return core.read_model(file.string());
}

ov::InferRequest compiled(ov::Core& core, const std::shared_ptr<ov::Model>& graph, int threads) {
  // By itself OpenVINO computes in bfloat16 where the processor has that: errors of 1e-3, not of 1e-6.
  ov::AnyMap options{ov::hint::inference_precision(ov::element::f32),
                     ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY)};
  if (threads > 0) {
    options.emplace(ov::inference_num_threads(threads));
  }
  return core.compile_model(graph, "CPU", options).create_infer_request();
}

// Reads (M, C) float32 from a file of NumPy's, as (1, M, C).
ov::Tensor read_items(const fs::path& file, const ov::PartialShape& shape) {
  ov::Tensor items(ov::element::f32,
                   {1, static_cast<size_t>(shape[1].get_length()), static_cast<size_t>(shape[2].get_length())});
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  const auto bytes = static_cast<std::streamoff>(items.get_byte_size());
  // The numbers stand at the end, behind a header of text.
  if (!stream || stream.tellg() <= bytes || !stream.seekg(-bytes, std::ios::end) ||
      !stream.read(static_cast<char*>(items.data()), bytes)) {
    throw std::runtime_error(file.string() + " is missing or does not hold the items of the model");
  }
  return items;
}

}  // namespace

Model::Model(const fs::path& folder, int threads) {
  ov::Core core;
  graph_ = read_graph(core, folder / "score.xml");
  score_ = compiled(core, graph_, threads);
  pixels_ = {1, static_cast<size_t>(number("window")), static_cast<size_t>(number("size")),
             static_cast<size_t>(number("size")), static_cast<size_t>(number("image_channels"))};
  if (said("memory") == "True") {
    update_ = compiled(core, read_graph(core, folder / "update.xml"), threads);
    items_ = read_items(folder / "items.npy", graph_->input("items").get_partial_shape());
  }
}

bool Model::says(const std::string& name) const { return graph_->has_rt_info(PLACE, name); }

std::string Model::said(const std::string& name) const {
  if (!says(name)) {
    throw std::runtime_error("the model does not say its " + name +
                             "; calibrate the run and export it again: mnad calibrate RUN --data DATA");
  }
  return graph_->get_rt_info<std::string>(PLACE, name);
}

double Model::number(const std::string& name) const { return std::stod(said(name)); }

Measured Model::score(const std::vector<uint8_t>& window) {
  ov::Tensor pixels(ov::element::u8, pixels_);
  if (window.size() != pixels.get_byte_size()) {
    throw std::invalid_argument("the window has " + std::to_string(window.size()) + " bytes, not " +
                                std::to_string(pixels.get_byte_size()));
  }
  std::memcpy(pixels.data(), window.data(), window.size());
  score_.set_tensor("pixels", pixels);
  if (update_) {
    score_.set_tensor("items", items_);
  }
  score_.infer();
  const auto first = [this](const char* name) { return score_.get_tensor(name).data<float>()[0]; };
  return {first("psnr"), update_ ? first("distance") : 0.0F, first("update_error")};
}

void Model::update_items() {
  update_->set_tensor("features", score_.get_tensor("features"));
  update_->set_tensor("items", items_);
  update_->infer();
  update_->get_tensor("new_items").copy_to(items_);
}
