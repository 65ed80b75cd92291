package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// artifact is a file that Maven knows by its coordinates.
type artifact struct{ group, name, version, kind string }

// fetch copies the artifact into dir and returns its path.
func (a artifact) fetch(ctx context.Context, dir string) (string, error) {
	coordinates := fmt.Sprintf("%s:%s:%s:%s", a.group, a.name, a.version, a.kind)
	if err := maven(ctx, "dependency:copy", "-Dartifact="+coordinates, "-DoutputDirectory="+dir); err != nil {
		return "", fmt.Errorf("fetch %s: %w", coordinates, err)
	}
	return filepath.Join(dir, fmt.Sprintf("%s-%s.%s", a.name, a.version, a.kind)), nil
}

// fetchWithDependencies copies jars and all that they need at run time into dir.
func fetchWithDependencies(ctx context.Context, jars []artifact, dir string) error {
	pom, err := os.CreateTemp("", "nodestore-*.xml")
	if err != nil {
		return fmt.Errorf("create pom: %w", err)
	}
	defer os.Remove(pom.Name())
	defer pom.Close()
	fmt.Fprint(pom, "<project><modelVersion>4.0.0</modelVersion><groupId>testbed</groupId>",
		"<artifactId>jars</artifactId><version>1</version><dependencies>")
	for _, jar := range jars {
		fmt.Fprintf(pom, "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>",
			jar.group, jar.name, jar.version)
	}
	if _, err := fmt.Fprint(pom, "</dependencies></project>"); err != nil {
		return fmt.Errorf("write pom: %w", err)
	}
	return maven(ctx, "-f", pom.Name(), "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+dir)
}

func maven(ctx context.Context, arguments ...string) error {
	program, err := exec.LookPath("mvn")
	if err != nil {
		return hint.Add(fmt.Errorf("find Maven: %w", err),
			"install Maven and a JDK (Debian: apt install maven): the servers are fetched as Maven artifacts")
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"-q", "-B"}, arguments...)...)
	cmd.Env = append(os.Environ(), "TERM=dumb") // no colours in the output that errors quote
	output, err := cmd.CombinedOutput()
	if err != nil {
		return hint.Add(fmt.Errorf("run mvn: %w\n%s", err, output),
			"Maven must be able to reach Maven Central or a mirror named in ~/.m2/settings.xml")
	}
	return nil
}
