package source

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestEveryRuleAndWhatNoRuleFits(t *testing.T) {
	t.Parallel()
	tests := map[class][]string{
		retryable: {
			"08000", "08006 connection failure", "08P01 query_wait_timeout", "25P03", "40001 this standby has not replayed yet", "40001", "40P01", "40003",
			"55P03", "57014 canceling statement due to user request", "57014 storniere Anfrage", "57P01", "57P02", "57P03", "57P05",
			"XX000 could not open relation with OID 16397", "XX000 cache lookup failed for relation 1", "XX000 tuple concurrently deleted",
		},
		full:    {"08P01 no more connections allowed (max_client_conn)", "53300", "XX000 MaxClientsInSessionMode: max clients reached"},
		tooLong: {"08P01 query timeout", "25P04", "72000 snapshot too old", "53200 out of memory", "57014 canceling statement due to statement timeout"},
		damaged: {
			"22021 invalid byte", "22P05", "22023", "54000", "58030 could not read block 7", "58P01 could not access status of transaction 9",
			"XX001 invalid page in block 3", "XX002 index \"x\" contains unexpected zero page",
			"XX000 could not access status of transaction 3", "XX000 missing chunk number 0 for toast value 5 in pg_toast_4", "XX000 unexpected chunk number 1", "XX000 compressed data is corrupt",
			"XX000 invalid memory alloc request size 18446744073709551613",
		},
		final: {
			"08P01 unsupported startup parameter: search_path", "28P01", "28000", "3D000", "42501", "42P01", "53100", "53400", "57P04", "25006",
			"0A000", "42601", "XX000 unrecognized node type", "99999",
		},
	}
	used := map[rule]bool{}
	for want, answers := range tests {
		for _, answer := range answers {
			code, message, _ := strings.Cut(answer, " ")
			pg := &pgconn.PgError{Code: code, Message: message}
			used[ruleFor(pg)] = true
			err := fmt.Errorf("slice: %w", queryFailure(t.Context(), "stream nodes", pg))
			if classOf(err) != want || Retryable(err) != (want == retryable || want == full) || Full(err) != (want == full) || Damaged(err) != (want == damaged) || TooLong(err) != (want == tooLong) {
				t.Errorf("%s: class %d, want %d", answer, classOf(err), want)
			}
			if hint.Of(err) != ruleFor(pg).remedy {
				t.Errorf("%s: hint %q", answer, hint.Of(err))
			}
		}
	}
	for _, r := range rules() {
		if !used[r] {
			t.Errorf("no answer meets %+v", r)
		}
	}
}

// A view's cast puts the value that it cannot read into its message.
func TestNoErrorShowsWhatAViewComputes(t *testing.T) {
	db := newest(t)
	db.exec(`create table t (data text); insert into t values ('sesame-4711');
		create view nodestore_node as select data::uuid as id, data, timestamptz '2024-01-01 00:00+00' as "timestamp" from t`)
	err := db.open("nodestore_node").Stream(t.Context(), minMicros, maxMicros, func(node.Node) error { return nil })
	if !Damaged(err) || !strings.Contains(err.Error(), "22P02") || strings.Contains(fmt.Sprintf("%+v", err), "sesame") {
		t.Errorf("%+v", err)
	}
}

// What a person does to a stream: cancel its query, or end its session.
func TestAStreamThatAPersonStopsIsReadAgain(t *testing.T) {
	for _, function := range []string{"pg_cancel_backend", "pg_terminate_backend"} {
		t.Run(function, func(t *testing.T) {
			db := newest(t)
			db.exec(manyRows)
			s := db.open("nodestore_node")
			rows := 0
			err := s.Stream(t.Context(), minMicros, maxMicros, func(node.Node) error {
				if rows++; rows == 1 {
					db.exec("select " + function + "(pid) from pg_stat_activity where datname = current_database() and application_name = 'nodestore-migrate' and state = 'active'")
				}
				return nil
			})
			if !Retryable(err) || rows == 2000 {
				t.Errorf("%d rows, %v, retryable %v", rows, err, Retryable(err))
			}
			countRows(t, s)
		})
	}
}
