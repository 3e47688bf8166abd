// Scores a video by an exported model, as `mnad` does: prints for each frame its number, its score and whether it is an
// alarm.
//
//     ffmpeg -i gate.mp4 -f image2pipe -c:v ppm - | mnad_score exports/gate -
#include "frames.h"
#include "model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <deque>
#include <fstream>
#include <iostream>
#include <numeric>
#include <optional>

namespace {

// How far the value lies from low to high, from 0 to 1; nothing where these are one.
std::optional<double> share(double value, double low, double high) {
  const double spread = high - low;
  if (spread <= 1e-6 * std::max(std::abs(low), std::abs(high))) {
    return std::nullopt;
  }
  return (value - low) / spread;
}

// From P and D to the calibrated score of a frame, smoothed over the past.
class Score {
 public:
  explicit Score(const Model& model)
      : psnr_low_(model.number("psnr_low")),
        psnr_high_(model.number("psnr_high")),
        threshold_(model.number("threshold")),
        weight_(model.said("score_weight")) {
    if (model.says("distance_low")) {
      distance_low_ = model.number("distance_low");
      distance_high_ = model.number("distance_high");
    }
    const std::string smoothing = model.said("smoothing");
    if (smoothing != "causal" && smoothing != "none") {
      throw std::runtime_error("the calibration smooths by frames to come (" + smoothing +
                               "), which a stream has not yet; calibrate with --smoothing causal");
    }
    width_ = smoothing == "causal" ? static_cast<size_t>(model.number("smoothing_width")) : 1;
  }

  double operator()(const Measured& frame) {
    const auto good = share(frame.psnr, psnr_low_, psnr_high_);
    const double of_psnr = good ? 1 - *good : 0;
    const double of_distance = share(frame.distance, distance_low_, distance_high_).value_or(0);
    past_.push_back(weight_ == "max" ? std::max(of_psnr, of_distance)
                                     : std::stod(weight_) * of_psnr + (1 - std::stod(weight_)) * of_distance);
    if (past_.size() > width_) {
      past_.pop_front();
    }
    return std::accumulate(past_.begin(), past_.end(), 0.0) / static_cast<double>(past_.size());
  }

  bool is_alarm(double score) const { return score > threshold_; }

 private:
  double psnr_low_, psnr_high_;
  double distance_low_ = 0, distance_high_ = 0;
  double threshold_;
  std::string weight_;
  size_t width_;
  std::deque<double> past_;
};

void score_video(Model& model, std::istream& video) {
  const auto size = static_cast<int>(model.number("size"));
  const auto length = static_cast<size_t>(model.number("window"));
  Score score(model);
  std::deque<Frame> window;
  Frame frame;
  int scored = 0;
  for (int number = 0; read_ppm(video, frame); ++number) {
    window.push_back(resized(frame, size));
    if (window.size() > length) {
      window.pop_front();
    }
    if (window.size() < length) {
      continue;
    }
    std::vector<uint8_t> pixels;
    for (const Frame& each : window) {
      pixels.insert(pixels.end(), each.pixels.begin(), each.pixels.end());
    }
    const Measured measured = model.score(pixels);
    const double found = score(measured);
    if (!std::isfinite(found)) {
      throw std::runtime_error("the model gives nothing finite for frame " + std::to_string(number));
    }
    ++scored;
    std::printf("%d %.6f%s\n", number, found, score.is_alarm(found) ? " alarm" : "");
    if (model.says("update_threshold") && measured.update_error < model.number("update_threshold")) {
      model.update_items();
    }
  }
  if (scored == 0) {
    throw std::runtime_error("the video has fewer than the " + std::to_string(length) + " frames that a score takes");
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: mnad_score EXPORT VIDEO.ppm, or - for standard input\n";
    return 2;
  }
  try {
    Model model(argv[1]);
    if (model.said("image_channels") != "3" || model.says("black")) {
      throw std::runtime_error("this example takes models of frames in colour of 8 bits");
    }
    if (std::string(argv[2]) == "-") {
      score_video(model, std::cin);
      return 0;
    }
    std::ifstream file(argv[2], std::ios::binary);
    if (!file) {
      throw std::runtime_error(std::string("cannot open ") + argv[2]);
    }
    score_video(model, file);
  } catch (const std::exception& error) {
    std::cerr << "mnad_score: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
