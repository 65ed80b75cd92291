package source

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// class is what an error of the server means for the one who asked.
type class uint8

const (
	final     class = iota // the answer will not change: say what is wrong
	retryable              // the same question can succeed
	full                   // it can too: there is no connection free for it now
	tooLong                // the same for less at once can succeed
	damaged                // one row cannot be read, others may
)

// SQLSTATEs that more than the rules know, from appendix A of PostgreSQL's manual.
const (
	codeInsufficientPrivilege = "42501"
	codeClassData             = "22"
)

// rule says what the errors of a SQLSTATE mean whose message holds text.
type rule struct {
	code   string // the whole of it, or its first two characters: its class
	text   string // of a message that is never translated, unless said otherwise
	class  class
	remedy string
}

// rules is the only place that decides about an answer of the server. The first
// that fits is taken; what none fits is final.
func rules() []rule {
	const (
		mend    = "the table is damaged: pg_amcheck names what is, REINDEX mends an index; a row that no backup has is lost"
		timeout = "somebody between here and the server, or the server, ends statements that take long: lift that for this role"
	)
	return []rule{
		{"08P01", "max_client_conn", full, ""}, // pgbouncer's
		{"08P01", "unsupported startup parameter", final, "add the parameter to pgbouncer's ignore_startup_parameters, or connect directly"},
		{"08", "query timeout", tooLong, timeout}, // pgbouncer's query_timeout
		{"08", "", retryable, ""},

		{"22021", "", damaged, "a value is not valid text in the encoding of the database"},
		{"22P05", "", damaged, "a value has a character that UTF-8 lacks"},
		{codeClassData, "", damaged, "a row has a value that an expression of the view cannot take"},
		{"25P03", "", retryable, ""}, // idle_in_transaction_session_timeout
		{"25P04", "", tooLong, timeout},

		{"28P01", "", final, "check user and password; the password may come from the connection string, PGPASSWORD or ~/.pgpass"},
		{"28000", "", final, "the role or this machine may not log in this way: check the user, pg_hba.conf, and sslmode (a server may insist on TLS or a client certificate)"},
		{"3D000", "", final, "check the database's name: Sentry's is usually called postgres or sentry"},

		{"40001", "this standby has not replayed", retryable, "several servers answer, and one is behind another: connect to one of them"},
		{"40001", "", retryable, "on a standby, set hot_standby_feedback = on or raise max_standby_streaming_delay, or read from the primary"},
		{"40", "", retryable, ""}, // rolled back, such as by a deadlock
		{codeInsufficientPrivilege, "", final, "grant the role SELECT on the table (and USAGE on its schema); where row security is in force, use a role with BYPASSRLS"},
		{"42P01", "", final, "the table, or one beneath a view, was renamed or dropped: run again when it is back"},

		{"53100", "", final, "the disk of the PostgreSQL server is full: make room there"},
		{"53200", "", tooLong, "the PostgreSQL server has no memory left for the query"},
		{"53300", "", full, ""},
		{"54000", "", damaged, "a row is larger than PostgreSQL can send"},
		{"55P03", "", retryable, "another session locks the table: see pg_locks"},

		{"57014", "statement timeout", tooLong, timeout}, // translated where the server's lc_messages is not English: then retryable
		{"57014", "", retryable, "somebody cancelled the query: a person, or pg_repack"},
		{"57P01", "", retryable, ""}, // terminated, or the server shuts down
		{"57P02", "", retryable, ""}, // another backend crashed
		{"57P03", "", retryable, ""}, // the server starts
		{"57P05", "", retryable, ""}, // idle_session_timeout

		{"72000", "", tooLong, "a statement took longer than old_snapshot_threshold allows"}, // before PostgreSQL 17

		{"58030", "", damaged, mend}, // a block that the disk cannot read
		{"58P01", "", damaged, mend}, // a file that is not there, such as one of pg_xact
		{"XX001", "", damaged, mend},
		{"XX002", "", damaged, mend},
		{"XX000", "missing chunk number", damaged, mend}, // of TOAST, before PostgreSQL 14
		{"XX000", "unexpected chunk", damaged, mend},
		{"XX000", "could not access status of transaction", damaged, mend}, // a file of pg_xact is too short; translated
		{"XX000", "data is corrupt", damaged, mend},                        // compressed data, before PostgreSQL 14
		{"XX000", "invalid memory alloc request size", damaged, mend},
		{"XX000", "could not open relation with OID", retryable, ""}, // a partition was dropped while the query was planned
		{"XX000", "cache lookup failed", retryable, ""},
		{"XX000", "tuple concurrently", retryable, ""},
		{"XX000", "max clients reached", full, ""}, // Supavisor
	}
}

// ruleFor says what an answer of the server means.
func ruleFor(err *pgconn.PgError) rule {
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
