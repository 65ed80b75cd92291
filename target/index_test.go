package target

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/node"

	"github.com/nodestore-migrate/nodestore-migrate/internal/faulty"
	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// settings are the index's settings as a GET gives them, flat. Those that the
// server makes up for each index are left out.
func (b bed) settings() map[string]any {
	b.T.Helper()
	answer := b.Must(http.MethodGet, "/"+b.index()+"/_settings?flat_settings=true", "")
	settings := answer[b.index()].(map[string]any)["settings"].(map[string]any)
	maps.DeleteFunc(settings, func(name string, _ any) bool {
		return name == "index.uuid" || name == "index.creation_date" || name == "index.provided_name" || strings.HasPrefix(name, "index.version.")
	})
	return settings
}

func (b bed) aliases() map[string]any {
	b.T.Helper()
	answer := b.Must(http.MethodGet, "/"+b.index()+"/_alias", "")
	return answer[b.index()].(map[string]any)["aliases"].(map[string]any)
}

// loanTemplates are settings in templates, with what has to be borrowed of them.
func loanTemplates() map[string]struct{ settings, loading string } {
	return map[string]struct{ settings, loading string }{
		"the backend's":        {`"number_of_replicas":1`, `map[index.number_of_replicas:0 index.refresh_interval:-1]`},
		"nothing to borrow":    {`"number_of_replicas":0,"refresh_interval":"-1"`, `map[]`},
		"own refresh interval": {`"number_of_replicas":"0","index":{"refresh_interval":"30s"}`, `map[index.refresh_interval:-1]`},
		"auto_expand_replicas": {
			`"auto_expand_replicas":"0-1"`,
			`map[index.auto_expand_replicas:false index.number_of_replicas:0 index.refresh_interval:-1]`,
		},
		"async durability": {
			`"translog":{"durability":"async"},"number_of_replicas":0`,
			`map[index.refresh_interval:-1 index.translog.durability:request]`,
		},
	}
}

func TestBorrowedSettingsAreGivenBack(t *testing.T) {
	t.Parallel()
	for name, test := range loanTemplates() {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, b bed) {
				b.Must(http.MethodPut, "/_index_template/"+b.backend.Template, fmt.Sprintf(
					`{"index_patterns":[%q],"template":{"settings":{%s},"aliases":{%q:{}},%s}}`,
					b.backend.Pattern, test.settings, b.backend.Alias, mapped(`"data":{"type":"binary","store":true},`+dateField)))
				b.Must(http.MethodPut, "/"+b.index(), "")
				asSentry := b.settings()
				b.Must(http.MethodDelete, "/"+b.index(), "")
				b.borrowAndReturn(b.open(), asSentry, test.loading)
			})
		})
	}
}

func (b bed) borrowAndReturn(target *Target, asSentry map[string]any, loading string) {
	t := b.T
	loan, err := target.Loan(t.Context(), b.index())
	if err != nil || fmt.Sprint(loan.Settings) != loading || len(loan.Before) != len(loan.Settings) {
		t.Fatalf("loan %v, %v, %v; want %s", loan.Settings, loan.Before, err, loading)
	}
	origin := Origin{Origin: node.Origin{System: "7", Database: "sentry", Table: "nodestore_node", Region: "de"}}
	if err := target.Create(t.Context(), b.index(), loan, origin); err != nil {
		t.Fatal(err)
	}
	index := b.daily(target)
	if !index.Loading() || !index.Durable() || index.Origin == nil || *index.Origin != origin || index.Day != today || index.UUID == "" {
		t.Errorf("index %+v, origin %+v", index, index.Origin)
	}
	settings := b.settings()
	for name, value := range loan.Settings {
		if settings[name] != value {
			t.Errorf("while loading, %s is %v", name, settings[name])
		}
	}
	for range 2 { // as after a crash between this and the checkpoint
		if err := target.GiveBack(t.Context(), b.index(), loan.Before); err != nil {
			t.Fatalf("%v\n%s", err, hint.Of(err))
		}
		if settings := b.settings(); fmt.Sprint(settings) != fmt.Sprint(asSentry) {
			t.Errorf("settings\n%v, an index of Sentry's\n%v", settings, asSentry)
		}
		if aliases := b.aliases(); len(aliases) != 1 || aliases[b.backend.Alias] == nil {
			t.Errorf("aliases %v", aliases)
		}
	}
	if b.daily(target).Loading() {
		t.Error("still loading")
	}
}

func TestReturnOfWhatIsGone(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		one := "1"
		if err := b.open().GiveBack(t.Context(), b.index(), map[string]*string{"index.number_of_replicas": &one}); err != nil {
			t.Error(err)
		}
	})
}

func TestCreateTwice(t *testing.T) {
	b := oldest(t)
	target := b.open()
	b.loading(target)
	before := b.daily(target).UUID
	loan, err := target.Loan(t.Context(), b.index())
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Create(t.Context(), b.index(), loan, *b.daily(target).Origin); err != nil {
		t.Errorf("the same again: %v", err)
	}
	err = target.Create(t.Context(), b.index(), loan, Origin{Origin: node.Origin{Database: "other"}})
	wantRefusal(t, err, "resource_already_exists_exception", "run the same command again")
	if index := b.daily(target); index.UUID != before || index.Origin.Database != "sentry" {
		t.Errorf("it was changed: %+v", index)
	}
}

// TestAdminCallsSurviveABrokenConnection cuts the first try of every call,
// before and after the server acted.
func TestAdminCallsSurviveABrokenConnection(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]faulty.Cut{"before server": faulty.BeforeServer, "before answer": faulty.BeforeAnswer, "in answer": faulty.InAnswer} {
		t.Run(name, func(t *testing.T) {
			b := oldest(t)
			tried := make(map[string]bool)
			target := b.through(func(r *http.Request, _ int) faulty.Fault {
				call := r.Method + r.URL.Path
				if tried[call] {
					return faulty.Fault{}
				}
				tried[call] = true
				return faulty.Fault{Cut: cut}
			})
			index := b.loading(target)
			if err := target.CheckContract(t.Context(), today); err != nil {
				t.Error(err)
			}
			got, err := target.Write(t.Context(), index, batchOf(t, Versioned, numbered(2)...))
			if err != nil || got.Fates.Sum() != 2 {
				t.Errorf("fates %v, %v", got.Fates, err)
			}
			if err := target.Refresh(t.Context(), b.index()); err != nil {
				t.Error(err)
			}
			if err := target.Flush(t.Context(), b.index()); err != nil {
				t.Error(err)
			}
			if err := target.GiveBack(t.Context(), b.index(), map[string]*string{"index.refresh_interval": nil}); err != nil {
				t.Error(err)
			}
			if count, err := target.Count(t.Context(), b.backend.Alias, nil); count != 2 || err != nil {
				t.Errorf("count %d, %v", count, err)
			}
			if sight, err := target.Read(t.Context(), "n1"); err != nil || inner(t, sight.Data) != "1" {
				t.Errorf("%+v, %v", sight, err)
			}
			if copies, err := target.Copies(t.Context(), b.index(), []string{"n0", "n1"}); len(copies) != 2 || err != nil {
				t.Errorf("copies %v, %v", copies, err)
			}
		})
	}
}

func TestGreen(t *testing.T) {
	eachVersion(t, func(t *testing.T, b bed) {
		target := b.open()
		b.plain(target)
		if green, err := target.Green(t.Context(), b.index(), time.Minute); !green || err != nil {
			t.Errorf("without replicas: %v, %v", green, err)
		}
		b.Must(http.MethodPut, "/"+b.index()+"/_settings", `{"number_of_replicas":1}`)
		if green, err := target.Green(t.Context(), b.index(), 100*time.Millisecond); green || err != nil {
			t.Errorf("with a replica and no node for it: %v, %v", green, err)
		}
	})
}
