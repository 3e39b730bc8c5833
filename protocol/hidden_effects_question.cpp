#include "protocol/hidden_effects_question.hpp"

namespace pgweir::protocol {

namespace {

// What applications and extensions have made has a number of at least 16384.
//
// `code`: functions with bodies, and those in C that are known to keep state, or may: volatile
// ones, but for those of extensions and those that types, operators and their like are made of,
// which compute something (`computes`). `parsed`: what PostgreSQL has parsed of functions, their
// defaults and bodies. `tree`: parsed expressions, in which functions are numbers; those of
// set_config, the session's advisory locks, setseed, currval, lastval, backups, replication slots
// and origins, and those that run SQL which they are given, are looked for. `edge`: what mentions
// or uses what: code by the names in it
// (`word`s), everything else by its dependency; the relation that a trigger, default, check,
// policy, index or rule is of, a relation's parents, and those whose foreign keys change it.
// `hidden`: where a body or expression shows something of interest, and then, step by step, all
// that edges lead to.
//
// Trees are read as they are: pg_get_viewdef() and its like would wait for whoever has locked one
// of the relations, and be slow. (The column prosqlbody is there since version 14.)
// There is no semicolon in it (\x3b): it is one statement, also for those who only look for them.
constexpr std::string_view question = R"sql(
WITH RECURSIVE
separators (every, blanks) AS MATERIALIZED (
  SELECT c, repeat(' ', length(c))
    FROM (VALUES (E' \t\n\r\f\x0b!"#$%&''()*+,-./:\x3b<=>?@[\\]^`{|}~' COLLATE "C")) AS v (c)),
computes (oid) AS MATERIALIZED (
  SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass AND deptype = 'e'
  UNION ALL
  SELECT refobjid FROM pg_depend
   WHERE refclassid = 'pg_proc'::regclass
     AND classid IN ('pg_type'::regclass, 'pg_operator'::regclass, 'pg_cast'::regclass,
                     'pg_amproc'::regclass, 'pg_am'::regclass, 'pg_language'::regclass,
                     'pg_conversion'::regclass, 'pg_foreign_data_wrapper'::regclass,
                     'pg_ts_parser'::regclass, 'pg_ts_template'::regclass)),
code (oid, name, language, body, text) AS MATERIALIZED (
  SELECT c.*, lower(c.body COLLATE "C") FROM (
    SELECT p.oid, p.proname, l.lanname,
           CASE WHEN l.lanname IN ('c', 'internal') THEN '' ELSE p.prosrc END
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.oid >= 16384 AND p.prokind IN ('f', 'p')
       AND (l.lanname NOT IN ('c', 'internal')
            OR p.proname IN ('dblink_connect', 'dblink_connect_u', 'set_limit')
            OR (p.proname = 'isn_weak' AND p.pronargs > 0)
            OR (l.lanname = 'c' AND p.provolatile = 'v' AND p.oid NOT IN (SELECT oid FROM computes)))
  ) AS c (oid, name, language, body)),
parsed (oid, text) AS MATERIALIZED (
  SELECT p.oid, concat(CASE WHEN p.prosrc = '' THEN to_jsonb(p) ->> 'prosqlbody' END,
                       p.proargdefaults::text)
    FROM pg_proc p
   WHERE p.oid >= 16384 AND (p.prosrc = '' OR p.proargdefaults IS NOT NULL)),
tree (classid, objid, text) AS MATERIALIZED (
  SELECT t.* FROM (
    SELECT 'pg_rewrite'::regclass::oid, oid, concat(ev_action::text, ev_qual::text)
      FROM pg_rewrite WHERE oid >= 16384
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, adbin::text FROM pg_attrdef WHERE oid >= 16384
    UNION ALL SELECT 'pg_constraint'::regclass, oid, conbin::text
      FROM pg_constraint WHERE oid >= 16384 AND conbin IS NOT NULL
    UNION ALL SELECT 'pg_policy'::regclass, oid, concat(polqual::text, polwithcheck::text)
      FROM pg_policy
    UNION ALL SELECT 'pg_trigger'::regclass, oid, tgqual::text
      FROM pg_trigger WHERE tgqual IS NOT NULL
    UNION ALL SELECT 'pg_class'::regclass, indexrelid, concat(indexprs::text, indpred::text)
      FROM pg_index WHERE indexrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL SELECT 'pg_proc'::regclass, oid, text FROM parsed
  ) AS t (classid, objid, text)
  WHERE t.text ~ ':funcid (2078|28(?:8[0-9]|9[0-2])|1599|1575|2559|2172|3779|3786|422[0-3]|6006|29(?:2[3-9]|3[03-8])|3685|3689|3690) '),
name (word, odd, classid, objid) AS MATERIALIZED (
  SELECT n.word, n.word <> translate(n.word, s.every, s.blanks), n.classid, n.objid FROM (
    SELECT 'pg_proc'::regclass::oid, oid, lower(proname::text COLLATE "C")
      FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT 'pg_class'::regclass, oid, lower(relname::text COLLATE "C")
      FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'f', 'p')
    UNION ALL SELECT 'pg_type'::regclass, oid, lower(typname::text COLLATE "C")
      FROM pg_type WHERE oid >= 16384 AND typtype <> 'c'
  ) AS n (classid, objid, word) CROSS JOIN separators s),
word (word, oid) AS MATERIALIZED (
  SELECT DISTINCT w.word, c.oid FROM code c CROSS JOIN separators s
    CROSS JOIN LATERAL unnest(string_to_array(translate(c.text, s.every, s.blanks), ' ')) AS w (word)
   WHERE w.word IN (SELECT word FROM name)),
edge (classid, objid, ofclass, ofobj, by_name) AS MATERIALIZED (
  SELECT 'pg_proc'::regclass::oid, w.oid, n.classid, n.objid, true
    FROM word w JOIN name n ON n.word = w.word
  UNION ALL
  SELECT 'pg_proc'::regclass, c.oid, n.classid, n.objid, true
    FROM name n JOIN code c ON strpos(c.text, n.word) > 0 WHERE n.odd
  UNION ALL
  SELECT classid, objid, refclassid, refobjid, false FROM pg_depend
   WHERE objid >= 16384 AND refobjid >= 16384
     AND refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass,
                        'pg_operator'::regclass)
     AND (refclassid <> 'pg_class'::regclass
          OR classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_policy'::regclass))
     AND NOT (refclassid = 'pg_type'::regclass AND deptype = 'i')
  UNION ALL
  SELECT 'pg_class'::regclass, o.relation, o.classid, o.objid, false FROM (
    SELECT 'pg_rewrite'::regclass::oid, oid, ev_class FROM pg_rewrite
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid FROM pg_attrdef
    UNION ALL SELECT 'pg_constraint'::regclass, oid, conrelid FROM pg_constraint
    UNION ALL SELECT 'pg_policy'::regclass, oid, polrelid FROM pg_policy
    UNION ALL SELECT 'pg_trigger'::regclass, oid, tgrelid FROM pg_trigger
    UNION ALL SELECT 'pg_class'::regclass, indexrelid, indrelid FROM pg_index
    UNION ALL SELECT 'pg_class'::regclass, inhrelid, inhparent FROM pg_inherits
    UNION ALL SELECT 'pg_class'::regclass, conrelid, confrelid FROM pg_constraint
      WHERE contype = 'f'
        AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
  ) AS o (classid, objid, relation) WHERE o.relation >= 16384
  UNION ALL
  SELECT 'pg_type'::regclass, contypid, 'pg_constraint'::regclass, oid, false
    FROM pg_constraint WHERE contypid <> 0),
hidden (classid, objid, ofclass, ofobj, by_name) AS (
  (SELECT 'pg_proc'::regclass::oid, oid, 0::oid, 0::oid, true FROM code
    WHERE language IN ('c', 'internal')
       OR text ~ E'set_config|_to_xml|ts_stat|ts_rewrite|advisory|currval|lastval|setseed|_backup|_slot|origin_session|pg_prepared_statement|pg_temp|\\mtemp(orary)?\\M|\\mhold\\M|\\mexecute\\M|\\mload\\M|\\m(un)?listen\\M|\\mprepare\\M|\\mextension\\M|_shared|\\m[gs]d\\M|u&|\\\\|(^|[\\x3b''"`${(]|\\m(begin|then|else|loop)\\M|--[^\n]*\n|\\*/)\\s*(set|reset|discard)\\M'
   UNION ALL SELECT classid, objid, 0, 0, true FROM tree)
  UNION
  SELECT e.* FROM hidden h JOIN edge e ON e.ofclass = h.classid AND e.ofobj = h.objid),
node (classid, objid) AS MATERIALIZED (SELECT DISTINCT classid, objid FROM hidden),
told (what, classid, objid, value) AS (
  SELECT 'n', classid, objid, CASE classid
           WHEN 'pg_proc'::regclass THEN (SELECT proname::text FROM pg_proc WHERE oid = objid)
           WHEN 'pg_class'::regclass THEN (SELECT relname::text FROM pg_class WHERE oid = objid)
           WHEN 'pg_type'::regclass THEN (SELECT typname::text FROM pg_type WHERE oid = objid)
           ELSE '' END
    FROM node
  UNION ALL
  SELECT 'l', node.classid, node.objid, code.language
    FROM node JOIN code ON node.classid = 'pg_proc'::regclass AND code.oid = node.objid
  UNION ALL
  SELECT 'c', node.classid, node.objid, code.body
    FROM node JOIN code ON node.classid = 'pg_proc'::regclass AND code.oid = node.objid
  UNION ALL
  SELECT 'w', node.classid, node.objid, ''
    FROM node JOIN parsed ON node.classid = 'pg_proc'::regclass AND parsed.oid = node.objid
   WHERE parsed.text ~ ':commandType [2-5] '
  UNION ALL
  SELECT 't', classid, objid, concat_ws(' ', call[1], CASE WHEN length(call[3]) < 800 THEN call[3] END)
    FROM tree CROSS JOIN LATERAL regexp_matches(text,
           E':funcid (2078|28(?:8[0-9]|9[0-2])|1599|1575|2559|2172|3779|3786|422[0-3]|6006|29(?:2[3-9]|3[03-8])|3685|3689|3690) [^{}]*:args '
           '\\((\\{CONST [^{}]*:constvalue \\d+ \\[ ([-0-9 ]*)\\])?', 'g') AS call)
SELECT r.what, r.id, r.value FROM (
  SELECT what, concat(classid, '.', objid), n, substr(value, 1 + 900 * n, 900)
    FROM told CROSS JOIN LATERAL generate_series(0, length(value) / 900) AS n
  UNION ALL
  SELECT 'e', concat(classid, '.', objid), 0, concat(ofclass, '.', ofobj)
    FROM hidden WHERE NOT by_name
) AS r (what, id, n, value)
ORDER BY r.id, r.what, r.n
)sql";

} // namespace

// Answers come as the server has them (SQL_ASCII), since no conversion is to fail.
std::string hidden_effects_settings(std::chrono::milliseconds patience) {
    return "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),"
           " pg_catalog.set_config('statement_timeout', '" +
           std::to_string(patience.count()) +
           "', true),"
           " pg_catalog.set_config('lock_timeout', '100', true),"
           " pg_catalog.set_config('client_encoding', 'SQL_ASCII', true),"
           // Nobody has counted the rows of what is made up on the way.
           " pg_catalog.set_config('jit', 'off', true),"
           " pg_catalog.set_config('enable_nestloop', 'off', true)";
}
std::string_view hidden_effects_question() { return question; }

} // namespace pgweir::protocol
