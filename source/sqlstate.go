package source

import (
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// class is what an error of the server means for the one who asked.
type class uint8

const (
	stop    class = iota // the answer will not change: say what is wrong
	again                // the same question can succeed
	smaller              // the same for less at once can succeed
	thisRow              // one row cannot be read, others may
)

// SQLSTATEs that more than the rules know, from appendix A of PostgreSQL's manual.
const (
	codeInsufficientPrivilege = "42501"
	codeClassData             = "22"
)

// occupied is the remedy of a server that has no connection free.
const occupied = "the server has no connection free: read with fewer (--readers), or through pgbouncer"

// rule says what the errors of a SQLSTATE mean whose message holds text.
type rule struct {
	code   string // the whole of it, or its first two characters: its class
	text   string // of a message that is never translated, unless said otherwise
	class  class
	remedy string
}

// rules is the only place that decides about an answer of the server. The first
// that fits is taken; what none fits is stop.
func rules() []rule {
	const (
		damaged = "the table is damaged: pg_amcheck names what is, REINDEX mends an index; a row that no backup has is lost"
		timeout = "somebody between here and the server, or the server, ends statements that take long: lift that for this role"
	)
	return []rule{
		{"08P01", "max_client_conn", again, occupied}, // pgbouncer's
		{"08P01", "unsupported startup parameter", stop, "add the parameter to pgbouncer's ignore_startup_parameters, or connect directly"},
		{"08", "query timeout", smaller, timeout}, // pgbouncer's query_timeout
		{"08", "", again, ""},

		{"22021", "", thisRow, "a value is not valid text in the encoding of the database"},
		{"22P05", "", thisRow, "a value has a character that UTF-8 lacks"},
		{codeClassData, "", thisRow, "a row has a value that an expression of the view cannot take"},
		{"25P03", "", again, ""}, // idle_in_transaction_session_timeout
		{"25P04", "", smaller, timeout},

		{"28P01", "", stop, "check user and password; the password may come from the connection string, PGPASSWORD or ~/.pgpass"},
		{"28000", "", stop, "the role or this machine may not log in this way: check the user, pg_hba.conf, and sslmode (a server may insist on TLS or a client certificate)"},
		{"3D000", "", stop, "check the database's name: Sentry's is usually called postgres or sentry"},

		{"40001", "this standby has not replayed", again, "several servers answer, and one is behind another: connect to one of them"},
		{"40001", "", again, "on a standby, set hot_standby_feedback = on or raise max_standby_streaming_delay, or read from the primary"},
		{"40", "", again, ""}, // rolled back, such as by a deadlock
		{codeInsufficientPrivilege, "", stop, "grant the role SELECT on the table (and USAGE on its schema); where row security is in force, use a role with BYPASSRLS"},
		{"42P01", "", stop, "the table, or one beneath a view, was renamed or dropped: run again when it is back"},

		{"53100", "", stop, "the disk of the PostgreSQL server is full: make room there"},
		{"53200", "", smaller, "the PostgreSQL server has no memory left for the query"},
		{"53300", "", again, occupied},
		{"54000", "", thisRow, "a row is larger than PostgreSQL can send"},
		{"55P03", "", again, "another session locks the table: see pg_locks"},

		{"57014", "statement timeout", smaller, timeout}, // translated where the server's lc_messages is not English: then again
		{"57014", "", again, "somebody cancelled the query: a person, or pg_repack"},
		{"57P01", "", again, ""}, // terminated, or the server shuts down
		{"57P02", "", again, ""}, // another backend crashed
		{"57P03", "", again, ""}, // the server starts
		{"57P05", "", again, ""}, // idle_session_timeout

		{"72000", "", smaller, "a statement took longer than old_snapshot_threshold allows"}, // before PostgreSQL 17

		{"58030", "", thisRow, damaged}, // a block that the disk cannot read
		{"58P01", "", thisRow, damaged}, // a file that is not there, such as one of pg_xact
		{"XX001", "", thisRow, damaged},
		{"XX002", "", thisRow, damaged},
		{"XX000", "missing chunk number", thisRow, damaged}, // of TOAST, before PostgreSQL 14
		{"XX000", "unexpected chunk", thisRow, damaged},
		{"XX000", "could not access status of transaction", thisRow, damaged}, // a file of pg_xact is too short; translated
		{"XX000", "data is corrupt", thisRow, damaged},                        // compressed data, before PostgreSQL 14
		{"XX000", "invalid memory alloc request size", thisRow, damaged},
		{"XX000", "could not open relation with OID", again, ""}, // a partition was dropped while the query was planned
		{"XX000", "cache lookup failed", again, ""},
		{"XX000", "tuple concurrently", again, ""},
		{"XX000", "max clients reached", again, occupied}, // Supavisor
	}
}

func judge(err *pgconn.PgError) rule {
	for _, r := range rules() {
		if strings.HasPrefix(err.Code, r.code) && strings.Contains(err.Message, r.text) {
			return r
		}
	}
	return rule{}
}

// words are the server's about a row. Those about a value that a view computes
// can hold the value itself (promise 10).
func words(err *pgconn.PgError) string {
	// Too long, a division by zero, and two that show some bytes of a character.
	harmless := []string{"22001", "22012", "22021", "22P05"}
	if strings.HasPrefix(err.Code, codeClassData) && !slices.Contains(harmless, err.Code) {
		return "data exception"
	}
	return err.Message
}

// brokenPage says that storage, and no expression of a view, keeps the server
// from reading a timestamp.
func brokenPage(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && Damaged(err) && !strings.HasPrefix(pg.Code, codeClassData)
}
