// Package testbed starts real PostgreSQL and OpenSearch servers on loopback
// ports, without docker and without root, for `demo` and for tests: the
// promises of the design are only worth something when the servers are real.
//
// The servers are assembled from artifacts that Maven fetches, so mvn, and a
// JDK for OpenSearch, must be there. They are kept unpacked in a cache folder
// (see [CacheVariable]) that any number of processes may share.
//
// A started server lives in a fresh temporary folder. Stop ends it and removes
// the folder. On Linux the kernel kills it when this process dies without
// having called Stop; elsewhere it then stays behind.
package testbed

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// startTimeout bounds a start, once the server is installed: OpenSearch needs 5 s
// alone, 30 s when the whole test suite shares two cores.
const startTimeout = 3 * time.Minute

// serverUser is "nobody": PostgreSQL and OpenSearch both refuse to run as root.
const serverUser = 65534

func isRoot() bool { return os.Geteuid() == 0 }

// credential is who the servers run as: ourselves, or nobody if we are root.
func credential() *syscall.Credential {
	if !isRoot() {
		return nil
	}
	return &syscall.Credential{Uid: serverUser, Gid: serverUser}
}

// newStateDir makes the folder for one server's data. The caller removes it.
func newStateDir(kind string) (string, error) {
	if !reachable(os.TempDir()) {
		return "", hint.Add(fmt.Errorf("make folder for %s: user nobody cannot enter %s", kind, os.TempDir()),
			"point TMPDIR at a folder that every user may enter, or do not run as root")
	}
	dir, err := os.MkdirTemp("", "nodestore-"+kind+"-")
	if err != nil {
		return "", fmt.Errorf("make folder for %s: %w", kind, err)
	}
	return dir, nil
}

// handOver gives everything in dir to the user that the server runs as.
func handOver(dir string) error {
	if !isRoot() {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, serverUser, serverUser)
	})
}

// reachable reports whether the servers' user may enter dir. It looks at the
// permissions for others, which is all that nobody has.
func reachable(dir string) bool {
	if !isRoot() {
		return true
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}
