// auth.hba, auth.hba_file, auth.ident, auth.ident_file: from what was given to rules, with the
// place of everything that is wrong. A part of parse(). Tests:
// tests/config/access_settings_test.cpp.
#pragma once

#include "config/configuration.hpp"
#include "config/document.hpp"
#include "config/reader.hpp"

#include <map>
#include <string_view>

namespace pgweir::config {

/// The nodes of these settings, by dotted key.
using access_nodes = std::map<std::string_view, const node*>;

void read_access(const access_nodes& given, reader& in, configuration& into);

} // namespace pgweir::config
