package evidence

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

// TestSeenThroughTheAlias counts what Sentry's search would find, not what the index has.
func TestSeenThroughTheAlias(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		ids := []string{"n0", "n1", "n2", "none"}
		want := func(what string, wantOwn, wantBehind int64) {
			if own, behind, err := Seen(t.Context(), b.Target, b.Index(), ids); own != wantOwn || behind != wantBehind || err != nil {
				t.Errorf("%s: %d, %d, %v", what, own, behind, err)
			}
		}
		want("without an alias", 0, 0)
		b.plain()
		for _, id := range ids[:3] {
			b.put(b.Index(), id)
		}
		b.put(b.Target.Backend().IndexOf(today+1), "n1")
		want("all", 3, 4)
		b.Must(http.MethodPost, "/_aliases", fmt.Sprintf(`{"actions":[{"add":{"index":%q,"alias":%q,"filter":{"term":{"_id":"n0"}}}}]}`, b.Index(), b.Name))
		want("with a filter", 1, 2)
		if sight, err := b.Target.Read(t.Context(), "n2"); sight.Copies != 0 || sight.Millis != -1 || err != nil {
			t.Errorf("with a filter: %+v, %v", sight, err)
		}
		sum := int64(0)
		for _, millis := range []int64{noon, noon + 1} {
			n, err := CountBetween(t.Context(), b.Target, b.Index(), millis, noon+2)
			if err != nil {
				t.Error(err)
			}
			sum += n
		}
		if sum != 3 {
			t.Errorf("%d documents in time", sum)
		}
		wantPayloads(t, b, ids)
	})
}

func wantPayloads(t *testing.T, b bed, ids []string) {
	t.Helper()
	var found []string
	err := Payloads(t.Context(), b.Target, b.Index(), ids, func(d Document) error {
		found = append(found, fmt.Sprintf("%s %s %d", d.ID, d.Data, d.Millis-noon))
		return nil
	})
	slices.Sort(found)
	if want := []string{"n0 x 0", "n1 x 0", "n2 x 0"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("payloads %q, %v", found, err)
	}
}

func TestFingerprintsTellChanges(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		if prints, err := Fingerprints(t.Context(), b.Target); len(prints) != 0 || err != nil {
			t.Errorf("%v, %v", prints, err)
		}
		index := b.plain()
		fingerprint := func() Fingerprint {
			prints, err := Fingerprints(t.Context(), b.Target)
			if err != nil || len(prints) != 1 {
				t.Fatalf("%v, %v", prints, err)
			}
			return prints[index.Name]
		}
		seen := []Fingerprint{fingerprint()}
		if seen[0].UUID != index.UUID {
			t.Errorf("%+v, uuid %s", seen[0], index.UUID)
		}
		for name, change := range map[string]func(){
			"write":   func() { b.Must(http.MethodPut, "/"+index.Name+"/_doc/a", `{"data":"x"}`) },
			"rewrite": func() { b.Must(http.MethodPut, "/"+index.Name+"/_doc/a", `{"data":"y"}`) },
			"delete":  func() { b.Call(http.MethodDelete, "/"+index.Name+"/_doc/a", "") },
		} {
			change()
			if now := fingerprint(); slices.Contains(seen, now) {
				t.Errorf("%s: still %+v", name, now)
			} else {
				seen = append(seen, now)
			}
		}
	})
}

// TestShardThatIsAway: an index of which no node may hold the shard is named, and
// no question that it has a part in is answered without it.
func TestShardThatIsAway(t *testing.T) {
	c := testservers.OldestCorner(t)
	b := bed{targettest.Bed{Corner: c, Target: targettest.Open(c, c.URL, 2, 200*time.Millisecond)}}
	b.plain()
	b.put(b.Index(), "n0")
	if missing, err := MissingShards(t.Context(), b.Target); len(missing) != 0 || err != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	away := b.Target.Backend().IndexOf(today + 1)
	b.Must(http.MethodPut, "/"+away+"?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"nobody"}}`)
	if missing, err := MissingShards(t.Context(), b.Target); !slices.Equal(missing, []string{away}) || err != nil {
		t.Errorf("missing %v, %v", missing, err)
	}
	ids := []string{"n0", "n1"}
	_, _, seen := Seen(t.Context(), b.Target, b.Index(), ids)
	payloads := Payloads(t.Context(), b.Target, b.Name, ids, func(Document) error { return nil })
	_, count := CountBetween(t.Context(), b.Target, b.Name, 0, noon)
	for name, err := range map[string]error{"seen": seen, "payloads": payloads, "count": count} {
		if err == nil || target.IsGone(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
