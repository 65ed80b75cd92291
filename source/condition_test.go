package source

import (
	"net/url"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func condition(t *testing.T, s *Source) Condition {
	t.Helper()
	c, err := s.Condition(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConditionOfEveryShape(t *testing.T) {
	t.Parallel()
	for name, schema := range schemas() {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(schema + edges)
				s := db.open("nodestore_node")
				if c := condition(t, s); c.Analyzed != nil || c.Correlation != nil {
					t.Errorf("never analysed: %+v", c)
				}
				db.exec("analyze")
				c := condition(t, s)
				if c.HeapBytes == 0 || c.ToastBytes == 0 || c.IndexBytes == 0 || c.Correlation == nil {
					t.Errorf("analysed: %+v", c)
				}
				if c.Encoding != "UTF8" || c.Pooled || c.Standby != nil || c.OldestTransaction == nil {
					t.Errorf("session: %+v", c)
				}
			})
		})
	}
}

func TestConditionOfAnEmptyPartitionedTable(t *testing.T) {
	db := newest(t)
	db.exec(`create table nodestore_node (id text, data text, "timestamp" timestamptz) partition by range ("timestamp")`)
	if c := condition(t, db.open("nodestore_node")); c.HeapBytes != 0 || c.Analyzed != nil {
		t.Errorf("%+v", c)
	}
}

// A role that may only read the table learns less, which is not an error.
func TestConditionForALimitedRole(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	limited := db
	limited.url = db.roleURL("limited")
	role := roleOf(t, limited.url)
	db.exec("grant select on nodestore_node to " + role)
	c := condition(t, limited.open("nodestore_node"))
	if c.OldestTransaction != nil {
		t.Errorf("%+v", c)
	}
}

func roleOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.User.Username()
}

func TestConditionSeesALongTransaction(t *testing.T) {
	db := newest(t)
	db.exec(plain)
	db.exec("begin; select 1")
	if c := condition(t, db.open("nodestore_node")); c.OldestTransaction == nil || *c.OldestTransaction <= 0 {
		t.Errorf("%+v", c)
	}
}

func TestConditionOfAStandby(t *testing.T) {
	// Of the second role, the default isolation is one that no standby has, and
	// a function is refused, as managed servers refuse some.
	_, standby := primaryAndStandby(t, manyRows+`create role limited login; grant select on nodestore_node to limited;
		alter role limited set default_transaction_isolation = 'serializable'; revoke execute on function pg_last_wal_receive_lsn() from public;`)
	s := connect(t, standby).open("nodestore_node")
	c := condition(t, s)
	if c.Standby == nil || c.Standby.Feedback || c.Standby.Unlimited || c.Standby.MaxDelay != 0 || c.Standby.Lag < 0 {
		t.Errorf("%+v", c.Standby)
	}
	limited := database{t: t, url: strings.Replace(standby, "postgres@", "limited@", 1)}.open("nodestore_node")
	if c := condition(t, limited); c.Standby != nil || c.HeapBytes == 0 || !limited.Relation().InRecovery {
		t.Errorf("%+v", c)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	for name, schema := range schemas() {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, db database) {
				db.exec(schema + edges)
				d := day(t, "2024-01-01")
				var got []seen
				err := db.open("nodestore_node").Sample(t.Context(), Slice{From: d.Start() + 1, To: d.End()}, 1, collect(&got))
				if err != nil || len(got) != 1 || got[0].id != `o'id\` {
					t.Errorf("got %v, %v", got, err)
				}
				if node.DayOf(got[0].micros) != d {
					t.Errorf("%v is not on %v", got[0], d)
				}
			})
		})
	}
}
