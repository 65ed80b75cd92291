package source

import (
	"net/url"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
)

// TestQuestionsOutliveAnOutage has the server away for a moment while a count
// is asked for: it is asked for again, and the run continues.
func TestQuestionsOutliveAnOutage(t *testing.T) {
	db := newest(t)
	db.exec(manyRows)
	address, err := url.Parse(db.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := faulty.NewTCPProxy(t, address.Host, func(int) faulty.Line { return faulty.Line{} })
	address.Host = proxy.Addr()
	s, err := Open(t.Context(), Config{ConnString: address.String(), Table: "nodestore_node", Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	proxy.Down()
	back := time.AfterFunc(time.Second, proxy.Up)
	defer back.Stop()
	if rows, err := s.Count(t.Context(), minMicros, maxMicros); err != nil || rows != 2000 {
		t.Errorf("count = %d, %v", rows, err)
	}
}
