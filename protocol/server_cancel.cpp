#include "protocol/server_cancel.hpp"

#include <type_traits>
#include <utility>

namespace pgweir::protocol {

server_cancel_action server_cancel::next(encryption_action action) const {
    return std::visit(
        [this](auto& what) -> server_cancel_action {
            if constexpr (std::is_same_v<std::decay_t<decltype(what)>, encryption_settled>) {
                std::string request;
                message_writer(request)
                    .begin_untyped()
                    .u32(cancel_request_code)
                    .u32(key_.process_id)
                    .raw(key_.key)
                    .end();
                return cancel_send{std::move(request)};
            } else {
                return std::move(what);
            }
        },
        action);
}

} // namespace pgweir::protocol
