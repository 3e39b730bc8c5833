// The reference of all settings, as Markdown, from the table. docs/settings.md is this text; a test
// compares them. Pure. Tests: tests/config/reference_test.cpp.
#pragma once

#include <string>

namespace pgweir::config {

[[nodiscard]] std::string settings_reference();

} // namespace pgweir::config
