package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nodestore-migrate/nodestore-migrate/internal/hint"
)

// jdkRange are the Java versions that an OpenSearch version runs on.
type jdkRange struct{ min, max, preferred int }

// jdksFor: OpenSearch 2 needs the security manager, which JDK 24 removed; 17 is
// what its own image runs on. OpenSearch 3 is compiled for 21.
func jdksFor(openSearch string) jdkRange {
	if major(openSearch) < 3 {
		return jdkRange{min: 11, max: 23, preferred: 17}
	}
	return jdkRange{min: 21, max: 99, preferred: 21}
}

// JDK returns the home of the installed JDK that suits an OpenSearch version
// best. It looks at JAVA_HOME, where the systems install JDKs, and at PATH.
func JDK(openSearch string) (string, error) {
	want := jdksFor(openSearch)
	home := want.nearest(jdkHomes())
	if home == "" {
		return "", hint.Add(fmt.Errorf("find a JDK for OpenSearch %s: none from %d to %d installed", openSearch, want.min, want.max),
			fmt.Sprintf("install a JDK %d, or point JAVA_HOME at one", want.preferred))
	}
	return home, nil
}

// nearest returns the JDK whose version is nearest to the preferred one, "" if
// none is in the range.
func (r jdkRange) nearest(homes []string) string {
	best, bestDistance := "", r.max
	for _, home := range homes {
		version := jdkVersion(home)
		if version < r.min || version > r.max {
			continue
		}
		distance := max(version-r.preferred, r.preferred-version)
		if distance < bestDistance {
			best, bestDistance = home, distance
		}
	}
	return best
}

// jdkHomes are the folders that may be JDKs and that the server may enter.
func jdkHomes() []string {
	var homes []string
	if home := os.Getenv("JAVA_HOME"); home != "" {
		homes = append(homes, home)
	}
	for _, pattern := range []string{
		"/usr/lib/jvm/*",
		"/Library/Java/JavaVirtualMachines/*/Contents/Home",
		"/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
	} {
		found, _ := filepath.Glob(pattern) // errs on a malformed pattern only
		homes = append(homes, found...)
	}
	if program, err := exec.LookPath("java"); err == nil {
		if program, err = filepath.EvalSymlinks(program); err == nil {
			homes = append(homes, filepath.Dir(filepath.Dir(program)))
		}
	}
	return slices.DeleteFunc(homes, func(home string) bool { return !reachable(home) })
}

// jdkVersion reads a JDK's feature version from its release file. It is 0 when
// home is no JDK, and 1 up to Java 8, which called itself 1.8.
func jdkVersion(home string) int {
	release, err := os.ReadFile(filepath.Join(home, "release"))
	if err != nil || !exists(javaProgram(home)) {
		return 0
	}
	match := regexp.MustCompile(`(?m)^JAVA_VERSION="(\d+)`).FindSubmatch(release)
	if match == nil {
		return 0
	}
	version, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return version
}

func javaProgram(jdk string) string { return filepath.Join(jdk, "bin", "java") }

// javaCommand starts the server class itself: bin/opensearch would start three
// JVMs before it, and need bash. The options are those of its JvmOptionsParser,
// without the gc log, the heap dump, and touching the whole heap at start.
func javaCommand(o OpenSearchOptions, at places) *exec.Cmd {
	options := []string{
		"-Xms" + o.Heap, "-Xmx" + o.Heap, "-Xss1m",
		"-XX:ErrorFile=" + filepath.Join(at.dir, "logs", "hs_err_pid%p.log"),
		"-XX:-OmitStackTraceInFastThrow", "-XX:-UsePerfData",
		"-Djava.io.tmpdir=" + filepath.Join(at.dir, "tmp"),
		"-Djava.awt.headless=true", "-Dfile.encoding=UTF-8", "-Djna.nosys=true",
		"-Dio.netty.noUnsafe=true", "-Dio.netty.noKeySetOptimization=true",
		"-Dio.netty.recycler.maxCapacityPerThread=0", "-Dio.netty.allocator.numDirectArenas=0",
		"-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true",
	}
	options = append(options, speedOptions(o)...)
	options = append(options, versionOptions(o, at)...)
	options = append(options,
		"-Dopensearch.path.home="+at.home,
		"-Dopensearch.path.conf="+filepath.Join(at.dir, "config"),
		"-Dopensearch.distribution.type=zip", "-Dopensearch.bundled_jdk=false",
		"-cp", filepath.Join(at.home, "lib", "*"),
		"org.opensearch.bootstrap.OpenSearch")
	cmd := exec.Command(javaProgram(at.jdk), options...)
	cmd.Env = append(withoutJavaOptions(os.Environ()), "HOME="+at.dir)
	return cmd
}

// speedOptions: without the optimising compiler and G1's threads a start took
// 4.1 s of CPU instead of 10.7 (2.19.4), 8.6 instead of 16.7 (3.4.0).
func speedOptions(o OpenSearchOptions) []string {
	if o.Quick {
		return []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}
	}
	return []string{"-XX:+UseG1GC", "-XX:G1ReservePercent=25", "-XX:InitiatingHeapOccupancyPercent=30"}
}

func versionOptions(o OpenSearchOptions, at places) []string {
	if major(o.Version) >= 3 {
		return []string{
			"-Djava.locale.providers=SPI,CLDR",
			"--add-modules=jdk.incubator.vector",
			"-javaagent:" + filepath.Join(at.home, "agent", "opensearch-agent.jar"),
			"--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED",
			"-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
		}
	}
	options := []string{
		"-Djava.locale.providers=SPI,COMPAT",
		"-Djava.util.concurrent.ForkJoinPool.common.threadFactory=org.opensearch.secure_sm.SecuredForkJoinWorkerThreadFactory",
	}
	if jdkVersion(at.jdk) >= 18 {
		options = append(options, "-Djava.security.manager=allow")
	}
	return options
}

// withoutJavaOptions drops what a JVM would obey behind our back.
func withoutJavaOptions(environment []string) []string {
	return slices.DeleteFunc(environment, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "JAVA_TOOL_OPTIONS" || name == "JDK_JAVA_OPTIONS"
	})
}
