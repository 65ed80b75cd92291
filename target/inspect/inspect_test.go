package inspect

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
	"github.com/nodestore-migrate/nodestore-migrate/node"
	"github.com/nodestore-migrate/nodestore-migrate/target"
	"github.com/nodestore-migrate/nodestore-migrate/target/cluster"
	"github.com/nodestore-migrate/nodestore-migrate/target/targettest"
)

func TestWatermarks(t *testing.T) {
	t.Parallel()
	const total = 1000 << 30
	for text, want := range map[string]int64{
		"85%": 150 << 30, "0.9": 100 << 30, "50gb": 50 << 30, "500mb": 500 << 20, "1.5TB": 1536 << 30, "4096b": 4096,
	} {
		mark, err := ParseWatermark(text)
		if free := mark.Free(total); err != nil || max(free-want, want-free) > 1 || mark.String() != text {
			t.Errorf("%s: %d free, %v; want %d", text, free, err, want)
		}
	}
	for _, text := range []string{"", "x%", "many", "gb"} {
		if _, err := ParseWatermark(text); err == nil {
			t.Errorf("%q is not a watermark", text)
		}
	}
}

func TestInspectCluster(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		ctx := t.Context()
		health, err := HealthOf(ctx, b.Target)
		if err != nil || health.DataNodes != 1 || health.Status == "" {
			t.Errorf("health %+v, %v", health, err)
		}
		disks, err := Disks(ctx, b.Target, Limits{})
		if err != nil || len(disks) != 1 || !disks[0].Only || disks[0].Total <= disks[0].Available || disks[0].Used() <= 0 || disks[0].Used() >= 1 {
			t.Errorf("disks %+v, %v", disks, err)
		}
		limits, err := LimitsOf(ctx, b.Target)
		if err != nil || limits.ShardsPerNode != 1000 || limits.Low.String() != "85%" || limits.Enforced || limits.ReadOnly || limits.Allocation != "all" {
			t.Errorf("limits %+v, %v", limits, err)
		}
		access, err := AccessOf(ctx, b.Target)
		if err != nil || access.Secured {
			t.Errorf("access %+v, %v", access, err)
		}
	})
}

func TestScratch(t *testing.T) {
	testservers.EachCorner(t, func(t *testing.T, c testservers.Corner) {
		b := bedIn(c)
		ctx := t.Context()
		scratch, err := CreateScratch(ctx, b.Target, today, "")
		if err != nil {
			t.Fatal(err)
		}
		batch := target.NewBatch(1 << 10)
		if verdict := batch.Append(node.Node{ID: []byte("a"), Data: []byte("eJyrrgUAAXUA+Q==")}, node.NewChecker(node.Full)); verdict.Reason != node.Accepted {
			t.Fatalf("rejected: %s", verdict.Reason)
		}
		outcome, err := b.Target.Write(ctx, scratch, batch)
		if err != nil || outcome.Fates.Sum() != 1 {
			t.Errorf("%+v, %v", outcome, err)
		}
		if err := b.Target.Flush(ctx, scratch.Name); err != nil {
			t.Error(err)
		}
		if bytes, err := StoreBytes(ctx, b.Target, scratch.Name); err != nil || bytes == 0 {
			t.Errorf("%d bytes, %v", bytes, err)
		}
		if found, err := b.Target.AllHoldings(ctx); err != nil || len(found) != 0 {
			t.Errorf("behind the alias: %v, %v", found, err)
		}
		if names, err := Scratches(ctx, b.Target); err != nil || !slices.Contains(names, scratch.Name) {
			t.Errorf("scratches %q, %v", names, err)
		}
		for range 2 {
			if err := RemoveScratch(ctx, b.Target, scratch); err != nil {
				t.Error(err)
			}
		}
		if status, _ := b.Call(http.MethodGet, "/"+scratch.Name, ""); status != http.StatusNotFound {
			t.Error("the scratch index is still there")
		}
	})
}

// A cluster that refuses a monitoring API still answers the others.
func TestForbiddenClusterAPI(t *testing.T) {
	to := targettest.Through(testservers.OldestCorner(t), func(r *http.Request, _ int) faulty.Fault {
		if strings.HasPrefix(r.URL.Path, "/_cluster/") {
			return faulty.Fault{Status: http.StatusForbidden, Body: `{"error":{"type":"security_exception","reason":"no permissions for [cluster:monitor/health]"}}`}
		}
		return faulty.Fault{}
	})
	if _, err := HealthOf(t.Context(), to); !cluster.IsForbidden(err) {
		t.Errorf("health: %v", err)
	}
	if _, err := LimitsOf(t.Context(), to); !cluster.IsForbidden(err) {
		t.Errorf("limits: %v", err)
	}
	if _, err := Disks(t.Context(), to, Limits{}); err != nil {
		t.Errorf("disks: %v", err)
	}
}
