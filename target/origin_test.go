package target

import (
	"net/http"
	"testing"

	"github.com/nodestore-migrate/nodestore-migrate/node"
)

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	full := Origin{Origin: node.Origin{System: "1", Database: "sentry", Table: "public.nodestore_node", Region: "us"}}
	with := func(change func(*Origin)) Origin {
		o := full
		change(&o)
		return o
	}
	unnamed := Origin{Origin: node.Origin{Database: "sentry", Table: "public.nodestore_node"}}
	cases := []struct {
		name string
		a, b Origin
		same bool
	}{
		{"identical", full, full, true},
		{"identical, nothing known", unnamed, unnamed, true},
		{"region not named this time", full, with(func(o *Origin) { o.Region = "" }), true},
		{"system hidden from this role", full, with(func(o *Origin) { o.System = "" }), true},
		{"nothing in common to compare", full, unnamed, false},
		{"one knows the system, the other the region", with(func(o *Origin) { o.Region = "" }), with(func(o *Origin) { o.System = "" }), false},
		{"another region", full, with(func(o *Origin) { o.Region = "de" }), false},
		{"another region of one name", full, with(func(o *Origin) { o.System = "2" }), false},
		{"another database", full, with(func(o *Origin) { o.Database = "de" }), false},
		{"another table", full, with(func(o *Origin) { o.Table = "old.nodestore_node" }), false},
	}
	for _, c := range cases {
		if c.a.Same(c.b) != c.same || c.b.Same(c.a) != c.same {
			t.Errorf("%s: not %v", c.name, c.same)
		}
	}
}

// A second region is refused by what the first one left on the target alone:
// no checkpoint is involved.
func TestSecondRegionBehindOneAlias(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target, ctx := b.open(), t.Context()
		us := Origin{Origin: node.Origin{System: "1", Database: "sentry", Table: "public.nodestore_node", Region: "us"}}
		de := us
		de.System, de.Region = "2", "de"
		if err := target.CheckOrigin(ctx, Origins{de}); err != nil {
			t.Errorf("nothing there yet: %v", err)
		}
		b.plain(target) // made by Sentry
		if err := target.CheckOrigin(ctx, Origins{de}); err != nil {
			t.Errorf("only Sentry's own index there: %v", err)
		}
		loan, err := target.Loan(ctx, b.index())
		if err != nil {
			t.Fatal(err)
		}
		if err := target.Create(ctx, b.backend.IndexOf(today-1), loan, us); err != nil {
			t.Fatal(err)
		}
		if err := target.CheckOrigin(ctx, Origins{us}); err != nil {
			t.Errorf("the same region again: %v", err)
		}
		wantRefusal(t, b.open().CheckOrigin(ctx, Origins{de}), "was filled from region us", string(OtherOrigin))

		other := b
		other.backend.Alias += "-other"
		b.Must(http.MethodPost, "/_aliases", `{"actions":[{"add":{"index":"`+b.index()+`","alias":"`+other.backend.Alias+`"}}]}`)
		if err := other.open().CheckOrigin(ctx, Origins{de}); err != nil {
			t.Errorf("another alias: %v", err)
		}
	})
}
