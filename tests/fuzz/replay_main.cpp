// Gives each file named (or each in a folder named) to a fuzz target, as libFuzzer would. This is
// how what fuzzing has found stays fixed in builds that have no libFuzzer.
//
// A program for one target and its corpus. Run by CTest: fuzz.TARGET.
#include "tests/fuzz/fuzz.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

namespace {

bool replay(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (!in) {
        return false;
    }
    // A copy of exactly that size, so that a sanitizer sees a read behind its end.
    const std::vector<std::uint8_t> data(text.begin(), text.end());
    std::fprintf(stderr, "%s: %zu bytes\n", file.c_str(), data.size());
    return LLVMFuzzerTestOneInput(data.data(), data.size()) == 0;
}

} // namespace

int main(int count, char** arguments) {
    std::size_t files = 0;
    for (int i = 1; i < count; ++i) {
        const std::filesystem::path path(arguments[i]);
        if (!std::filesystem::is_directory(path)) {
            files += replay(path) ? 1U : 0U;
            continue;
        }
        for (const auto& entry : std::filesystem::directory_iterator(path)) {
            files += entry.is_regular_file() && replay(entry.path()) ? 1U : 0U;
        }
    }
    std::printf("%zu inputs replayed\n", files);
    return files == 0 ? 1 : 0; // no corpus is a mistake
}
