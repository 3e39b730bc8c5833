// What is said and read of channels.
#include "protocol/channel_sql.hpp"

#include "protocol/own_statement.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

std::string unlistened(std::string_view sql) {
    std::string text;
    for (const auto& one : read_unlistens(sql)) {
        text += (text.empty() ? "" : " ") + one.channel.value_or("*");
    }
    return text;
}

std::string umlauts(std::size_t count) {
    std::string text;
    while (count-- != 0) {
        text += "ö";
    }
    return text;
}

// The types of the messages, and what each is answered with takes off the queue.
std::string types(const std::string& messages) {
    std::string text;
    auto rest = as_bytes(messages);
    while (!rest.empty()) {
        const auto head = read_header(rest);
        text += head.type;
        rest = rest.subspan(head.frame_bytes());
    }
    return text;
}

} // namespace

TEST_CASE("channel_sql: UNLISTEN is read as PostgreSQL reads it") {
    const std::string long_name(70, 'n');
    const std::pair<std::string, std::string> table[] = {
        {"UNLISTEN a", "a"},
        {"unlisten *", "*"},
        {" /* c */ UnListen  Mixed_Case ;", "mixed_case"},
        {"UNLISTEN \"Mixed \"\"Case\"", "Mixed \"Case"},
        {"UNLISTEN " + long_name, long_name.substr(0, 63)},
        {"UNLISTEN \"x" + umlauts(40) + "\"", "x" + umlauts(31)}, // 63 bytes, and 62
        {"UNLISTEN \"" + umlauts(40) + "\"", umlauts(31)},
        {"UNLISTEN U&\"d\\0061t\\+000061\"", "data"},
        {"UNLISTEN u&\"d!0061t!!a\"\"\" UESCAPE '!'; UNLISTEN b", "dat!a\" b"},
        {"BEGIN; UNLISTEN a; LISTEN b; UNLISTEN c; COMMIT", "a c"},
        {"UNLISTEN", ""},
        {"LISTEN a", ""},
        {"SELECT 'UNLISTEN a'; SELECT unlisten FROM t", ""},
        {"SELECT $$; UNLISTEN a;$$", ""},
        {"-- UNLISTEN a\nSELECT 1", ""},
    };
    for (const auto& [sql, expected] : table) {
        CAPTURE(sql);
        CHECK(unlistened(sql) == expected);
    }
}

TEST_CASE("channel_sql: names are quoted") {
    CHECK(listen_sql({"a", "B\"c"}) == "LISTEN \"B\"\"c\";LISTEN \"a\";");
    CHECK(unlisten_sql("a\"") == "UNLISTEN \"a\"\"\";");
    CHECK(listen_sql({}).empty());
}

TEST_CASE("channel_sql: a batch of ours is answered by one ReadyForQuery, and not to the client") {
    const auto check = [](auto&& append, const std::string& expected) {
        std::string out;
        reply_queue owed;
        append(out, owed);
        CHECK(types(out) == expected);
        CHECK(owed.size() == expected.size());
        CHECK(owed.owed_ready(fate::swallow) == 1);
        CHECK(owed.owed_ready(fate::forward) == 0);
        CHECK(owed.next_is_swallowed());
    };
    check([](auto& out, auto& owed) { append_channel_question(out, owed); }, "CPBECCS");
    check([](auto& out, auto& owed) { append_unlisten_all(out, owed); }, "CPBECCS");
    check([](auto& out, auto& owed) { append_listen(out, owed, {"a"}, {"b"}); }, "CPBECCCPBECCS");
    check([](auto& out, auto& owed) { append_fence(out, owed, "f", "1 2 3", false); }, "CPBECCS");
    check([](auto& out, auto& owed) { append_fence(out, owed, "f", "1 2 3", true); },
          "CPBECCCPBECCS");
}

TEST_CASE("channel_sql: rows and notifications, cut anywhere") {
    std::string row("\0\1\0\0\0\4news", 10);
    CHECK(channel_in(as_bytes(row)) == "news");
    for (std::size_t size = 0; size < row.size(); ++size) {
        CHECK_FALSE(channel_in(as_bytes(row).first(size)));
    }
    CHECK_FALSE(channel_in(as_bytes(row + "x")));

    std::string frame;
    message_writer(frame)
        .begin(backend::notification_response)
        .u32(4711)
        .c_string("news")
        .c_string("hello")
        .end();
    const auto told = read_notification(as_bytes(frame));
    REQUIRE(told);
    CHECK(told->process_id == 4711);
    CHECK(told->channel == "news");
    CHECK(told->payload == "hello");
    for (std::size_t size = 0; size < frame.size(); ++size) {
        CHECK_FALSE(read_notification(as_bytes(frame).first(size)));
    }
    frame[0] = 'N';
    CHECK_FALSE(read_notification(as_bytes(frame)));
}

TEST_CASE("channel_sql: a fence says whose it is, and nothing else passes for one") {
    const fence_mark mark{3, 72'057'594'037'927'936, std::uint64_t{1} << 63};
    CHECK(read_fence(fence_payload(mark)) == mark);
    for (const auto* text : {"", "1", "1 2", "1 2 3 4", "1 2 x", "-1 2 3", "1  2 3", " 1 2 3",
                             "4294967296 2 3", "1 2 99999999999999999999", "1 2 3 "}) {
        CAPTURE(text);
        CHECK_FALSE(read_fence(text));
    }
}
