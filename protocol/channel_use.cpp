#include "protocol/channel_use.hpp"

namespace pgweir::protocol {

routing channel_use::before(effect_bits effects, const reply_queue& owed) const {
    if (owed.owed_ready(fate::forward) != 0 && owed.answers_will_come()) {
        return {routing::how::wait};
    }
    return {speaks(effects) && missing ? routing::how::channels_first : routing::how::as_is};
}

void channel_use::sent(const scanned_statement& what) {
    stepwise = true;
    notified = notified || (what.effects & notifies) != 0;
    if (speaks(what.effects)) {
        spoken_of = true;
        for (auto& one : read_unlistens(what.sql)) {
            unlistens.push_back(std::move(one));
        }
    }
}

routing use_of_channels(const scanned_statement& what, const statement_link& link,
                        const reply_queue& owed) {
    if (link.channels == nullptr || !channel_use::concerns(what.effects)) {
        return {};
    }
    const auto way = link.channels->before(what.effects, owed);
    if (way.is == routing::how::as_is) {
        link.channels->sent(what);
    }
    return way;
}

} // namespace pgweir::protocol
