"""A request's SQL, read from PostgreSQL's log and made into a script that other readers and copies can run."""

from benchmarks.parts.recorded import Statement, script, statements

READER = "01a20fdd-94bb-739c-aee3-849c4d6cba17"
MADE_UP = "01a20fdd-f38c-73af-aae8-67c82d280a06"
AT = "2026-11-24 23:22:13.774 UTC [4435]"
LOG = f"""\
{AT} LOG:  statement: BEGIN;
{AT} LOG:  execute __asyncpg_stmt_11__: SELECT users.id
\tFROM users
\tWHERE users.id = $1::UUID
{AT} DETAIL:  parameters: $1 = '{READER}'
2026-11-24 23:22:13.000 UTC [4257] LOG:  checkpoint complete: wrote 6 buffers (0.0%)
{AT} LOG:  execute __asyncpg_stmt_1d__: INSERT INTO loans (id, note, at, data) VALUES ($1, $2, $3, $4)
{AT} DETAIL:  parameters: $1 = '{MADE_UP}', $2 = NULL, $3 = '2026-11-24 23:22:13.549657+00',\
 $4 = '{{"by": "{READER}", "it''s": 7}}'
{AT} LOG:  statement: COMMIT;
"""


def test_statements_come_in_order_with_what_they_were_given() -> None:
    heard = list(statements(LOG))
    assert [statement.sql.split()[0] for statement in heard] == ["BEGIN", "SELECT", "INSERT", "COMMIT"]
    assert heard[1] == Statement("SELECT users.id FROM users WHERE users.id = $1::UUID", (f"'{READER}'",))
    assert heard[2].parameters[1] == "NULL"
    assert heard[2].parameters[3].endswith(""""it''s": 7}'""")


def test_known_values_become_variables_and_made_up_ids_random_ones() -> None:
    lines, ids = script(list(statements(LOG)), {READER: "reader_id"})
    assert lines[1] == "SELECT users.id FROM users WHERE users.id = :reader_id::UUID;"
    assert lines[2].endswith("""VALUES (:u0, NULL, :now, ('{"by": "' || :reader_id || '", "it''s": 7}'));""")
    assert ids == 1


def test_the_same_made_up_id_is_the_same_in_every_statement() -> None:
    heard = [Statement("INSERT INTO a VALUES ($1)", (f"'{MADE_UP}'",)), Statement("SELECT $1", (f"'{MADE_UP}'",))]
    assert script(heard, {}) == (["INSERT INTO a VALUES (:u0);", "SELECT :u0;"], 1)


def test_a_tenth_parameter_is_not_taken_for_the_first() -> None:
    heard = [Statement("SELECT $1, $10", tuple(f"'{number}'" for number in range(10)))]
    assert script(heard, {}) == (["SELECT '0', '9';"], 0)
