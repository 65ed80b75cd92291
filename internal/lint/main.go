// Command lint runs the analyzers that vet and staticcheck do not have:
//
//	go run ./internal/lint ./...
//
// contextcheck and noctx are not among them: contextcheck follows calls into
// the standard library and wants a context for every Close, noctx one for every
// port and process of the tests.
package main

import (
	"github.com/charithe/durationcheck"
	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/gostaticanalysis/nilerr"
	"github.com/kisielk/errcheck/errcheck"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"github.com/timakin/bodyclose/passes/bodyclose"
	"golang.org/x/tools/go/analysis/multichecker"
	"golang.org/x/tools/go/analysis/passes/nilness"
	"golang.org/x/tools/go/analysis/passes/unusedwrite"
)

// unchecked are functions whose error tells nobody anything: of writing to a
// terminal, of removing what is temporary, of closing what was only read.
var unchecked = []string{
	"fmt.Fprint", "fmt.Fprintf", "fmt.Fprintln", "os.Remove", "os.RemoveAll",
	"(io.Closer).Close", "(io/fs.File).Close", "(*os.File).Close", "(*os.Root).Close", "(*archive/zip.ReadCloser).Close",
	"(net.Conn).Close", "(net.Listener).Close", "(*crypto/tls.Conn).Close",
	"(*github.com/jackc/pgx/v5.Conn).Close", "(*github.com/jackc/pgx/v5/pgconn.PgConn).Close",
	"(*github.com/klauspost/compress/zstd.Encoder).Close", // of EncodeAll, which writes nothing
}

func main() {
	errcheck.DefaultExcludedSymbols = append(errcheck.DefaultExcludedSymbols, unchecked...)
	multichecker.Main(
		bodyclose.Analyzer,
		durationcheck.Analyzer,
		errcheck.Analyzer,
		errorlint.NewAnalyzer(),
		ineffassign.Analyzer,
		nilerr.Analyzer,
		nilness.Analyzer,
		unusedwrite.Analyzer,
	)
}
