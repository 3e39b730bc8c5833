#include "protocol/hidden_effects_question.hpp"

namespace pgweir::protocol {

namespace {

// Answers come as the server has them (SQL_ASCII), since no conversion is to fail.
constexpr std::string_view settings =
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),"
    " pg_catalog.set_config('statement_timeout', '10s', true),"
    " pg_catalog.set_config('lock_timeout', '2s', true),"
    " pg_catalog.set_config('client_encoding', 'SQL_ASCII', true),"
    " pg_catalog.set_config('jit', 'off', true)";

// What applications and extensions have made has a number of at least 16384.
//
// `code`: functions with bodies, and those in C that are known to keep state. `tree`: parsed
// expressions, in which functions are numbers; those of set_config, the session's advisory locks,
// setseed, currval and lastval are looked for. `hidden`: where a body or expression shows something
// of interest, and then, step by step, whatever mentions or uses that: code by the name in it,
// everything else by its dependency; then the relation that a trigger, default, check, policy,
// index or rule is of, a relation's parents, and those whose foreign keys change it.
// There is no semicolon in it (\x3b): it is one statement, also for those who only look for them.
constexpr std::string_view question = R"sql(
WITH RECURSIVE
code (oid, name, language, body, text) AS MATERIALIZED (
  SELECT c.*, lower(c.body COLLATE "C") FROM (
    SELECT p.oid, p.proname, l.lanname,
           concat(CASE WHEN l.lanname IN ('c', 'internal') THEN ''
                       WHEN p.prosrc = '' THEN pg_get_functiondef(p.oid)
                       ELSE p.prosrc END,
                  chr(59) || ' SELECT ' || pg_get_expr(p.proargdefaults, 0))
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.oid >= 16384 AND p.prokind IN ('f', 'p')
       AND (l.lanname NOT IN ('c', 'internal') OR p.proargdefaults IS NOT NULL
            OR p.proname IN ('dblink_connect', 'dblink_connect_u', 'set_limit'))
  ) AS c (oid, name, language, body)),
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
  ) AS t (classid, objid, text)
  WHERE t.text ~ ':funcid (2078|288[0-36-9]|1599|1575|2559) '),
hidden (classid, objid, ofclass, ofobj, by_name) AS (
  (SELECT 'pg_proc'::regclass::oid, oid, 0::oid, 0::oid, true FROM code
    WHERE name IN ('dblink_connect', 'dblink_connect_u', 'set_limit')
       OR text ~ E'set_config|advisory|currval|lastval|setseed|pg_temp|\\mtemp(orary)?\\M|\\mhold\\M|\\mexecute\\M|\\mload\\M|\\mlisten\\M|\\mprepare\\M|\\mextension\\M|_shared|\\m[gs]d\\M|u&|\\\\|(^|[\\x3b''"`${(]|\\m(begin|then|else|loop)\\M|--[^\n]*\n|\\*/)\\s*(set|reset|discard)\\M'
   UNION ALL SELECT classid, objid, 0, 0, true FROM tree)
  UNION
  SELECT n.* FROM hidden h CROSS JOIN LATERAL (
    SELECT 'pg_proc'::regclass::oid, c.oid, h.classid, h.objid, true FROM code c
     WHERE strpos(c.text, lower((CASE h.classid
             WHEN 'pg_proc'::regclass THEN (SELECT proname FROM pg_proc WHERE oid = h.objid)
             WHEN 'pg_class'::regclass THEN (SELECT relname FROM pg_class WHERE oid = h.objid)
             WHEN 'pg_type'::regclass THEN (SELECT typname FROM pg_type WHERE oid = h.objid)
           END)::text COLLATE "C")) > 0
    UNION ALL
    SELECT d.classid, d.objid, h.classid, h.objid, false FROM pg_depend d
     WHERE d.refclassid = h.classid AND d.refobjid = h.objid AND d.objid >= 16384
       AND h.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass,
                         'pg_operator'::regclass)
       AND (h.classid <> 'pg_class'::regclass
            OR d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_policy'::regclass))
       AND NOT (h.classid = 'pg_type'::regclass AND d.deptype = 'i')
    UNION ALL
    SELECT 'pg_class'::regclass, o.relation, h.classid, h.objid, false FROM (
      SELECT ev_class FROM pg_rewrite WHERE h.classid = 'pg_rewrite'::regclass AND oid = h.objid
      UNION ALL SELECT adrelid FROM pg_attrdef
        WHERE h.classid = 'pg_attrdef'::regclass AND oid = h.objid
      UNION ALL SELECT conrelid FROM pg_constraint
        WHERE h.classid = 'pg_constraint'::regclass AND oid = h.objid
      UNION ALL SELECT polrelid FROM pg_policy
        WHERE h.classid = 'pg_policy'::regclass AND oid = h.objid
      UNION ALL SELECT tgrelid FROM pg_trigger
        WHERE h.classid = 'pg_trigger'::regclass AND oid = h.objid
      UNION ALL SELECT indrelid FROM pg_index
        WHERE h.classid = 'pg_class'::regclass AND indexrelid = h.objid
      UNION ALL SELECT inhparent FROM pg_inherits
        WHERE h.classid = 'pg_class'::regclass AND inhrelid = h.objid
      UNION ALL SELECT confrelid FROM pg_constraint
        WHERE h.classid = 'pg_class'::regclass AND conrelid = h.objid AND contype = 'f'
          AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
    ) AS o (relation) WHERE o.relation <> 0
    UNION ALL
    SELECT 'pg_type'::regclass, contypid, h.classid, h.objid, false FROM pg_constraint
     WHERE h.classid = 'pg_constraint'::regclass AND oid = h.objid AND contypid <> 0
  ) AS n),
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
  SELECT 'c', classid, objid, CASE classid
           WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(objid)
           WHEN 'pg_attrdef'::regclass
             THEN (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE oid = objid)
           WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(objid)
           WHEN 'pg_policy'::regclass
             THEN (SELECT concat(pg_get_expr(polqual, polrelid), ' ',
                                 pg_get_expr(polwithcheck, polrelid))
                     FROM pg_policy WHERE oid = objid)
           WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(objid)
           WHEN 'pg_class'::regclass THEN pg_get_indexdef(objid)
         END
    FROM tree)
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

std::string_view hidden_effects_settings() { return settings; }
std::string_view hidden_effects_question() { return question; }

} // namespace pgweir::protocol
