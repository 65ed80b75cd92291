package cli_test

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nodestore-migrate/nodestore-migrate/internal/cli"
	"github.com/nodestore-migrate/nodestore-migrate/internal/testbed/testservers"
)

// TestMain makes this binary the tool itself when a script calls it by name.
func TestMain(m *testing.M) {
	testscript.Main(withServers{m}, map[string]func(){
		"nodestore-migrate": func() { os.Exit(cli.Main()) },
	})
}

// withServers stops the test servers when all tests have run.
type withServers struct{ tests *testing.M }

func (w withServers) Run() int { return testservers.Run(w.tests) }

// TestScript runs the real command line against real servers. script_test.go
// says which commands the scripts have besides testscript's own.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"documented": documented,
			"elsewhere":  elsewhere,
			"exits":      exits,
			"fails":      fails,
			"fill":       fill,
			"hold":       hold,
			"job":        runJob,
			"json":       jsonOutput,
			"mutual":     mutual,
			"objects":    checkFile,
			"opensearch": askOpenSearch,
			"pretend":    pretend,
			"refuse":     refuse,
			"role":       role,
			"secure":     secure,
			"sql":        execute,
			"waitfor":    waitFor,
		},
	})
}
