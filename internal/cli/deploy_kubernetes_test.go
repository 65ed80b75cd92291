package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kubernetesJob is all that a Job of deploy/ may say: a field that Kubernetes does not
// know, or that is in the wrong place, is an error.
type kubernetesJob struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   kubernetesMetadata
	Spec       struct {
		CompletionMode   string `yaml:"completionMode"`
		Completions      int
		Parallelism      int
		BackoffLimit     int                              `yaml:"backoffLimit"`
		PodFailurePolicy struct{ Rules []kubernetesRule } `yaml:"podFailurePolicy"`
		Template         struct {
			Metadata kubernetesMetadata
			Spec     kubernetesPod
		}
	}
}

type kubernetesMetadata struct {
	Name   string
	Labels map[string]string
}

type kubernetesRule struct {
	Action          string
	OnPodConditions []struct{ Type, Status string } `yaml:"onPodConditions"`
	OnExitCodes     struct {
		ContainerName string `yaml:"containerName"`
		Operator      string
		Values        []int
	} `yaml:"onExitCodes"`
}

type kubernetesPod struct {
	RestartPolicy                 string `yaml:"restartPolicy"`
	TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
	AutomountServiceAccountToken  bool   `yaml:"automountServiceAccountToken"`
	SecurityContext               struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		RunAsUser      int                   `yaml:"runAsUser"`
		RunAsGroup     int                   `yaml:"runAsGroup"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []kubernetesContainer
	Volumes    []struct {
		Name                  string
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
}

type kubernetesContainer struct {
	Name, Image string
	WorkingDir  string `yaml:"workingDir"`
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct {
				Name, Key string
				Optional  bool
			} `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		AllowPrivilegeEscalation bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
}

// kubernetesJobs are the files that have a Job.
func kubernetesJobs() []string {
	return []string{"kubernetes-job.yaml", "kubernetes-plan.yaml", "kubernetes-verify.yaml"}
}

func TestKubernetesJobs(t *testing.T) {
	t.Parallel()
	for _, name := range kubernetesJobs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var job kubernetesJob
			readDeployed(t, name, &job)
			checkJob(t, &job)
			checkEnvironment(t, &job)
		})
	}
}

func checkJob(t *testing.T, job *kubernetesJob) {
	t.Helper()
	if job.APIVersion != "batch/v1" || job.Kind != "Job" || (job.Spec.CompletionMode == "Indexed") != (job.Spec.Completions > 1) || len(job.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("%s %s, %s", job.APIVersion, job.Kind, job.Spec.CompletionMode)
	}
	pod := job.Spec.Template.Spec
	c := pod.Containers[0]
	// A podFailurePolicy is refused with any other restartPolicy.
	if pod.RestartPolicy != "Never" || job.Spec.Parallelism > job.Spec.Completions {
		t.Errorf("restartPolicy %s, %d of %d pods at once", pod.RestartPolicy, job.Spec.Parallelism, job.Spec.Completions)
	}
	if !pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.RunAsUser == 0 || c.SecurityContext.AllowPrivilegeEscalation || !c.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("the pod may do more than it needs: %+v, %+v", pod.SecurityContext, c.SecurityContext)
	}
	for _, rule := range job.Spec.PodFailurePolicy.Rules {
		if rule.OnPodConditions == nil && (rule.OnExitCodes.ContainerName != c.Name || rule.OnExitCodes.Operator != "In" || slices.Contains(rule.OnExitCodes.Values, 0)) {
			t.Errorf("rule %+v", rule)
		}
	}
}

func checkEnvironment(t *testing.T, job *kubernetesJob) {
	t.Helper()
	known := knownVariables(t)
	for _, e := range job.Spec.Template.Spec.Containers[0].Env {
		if !known[e.Name] {
			t.Errorf("nobody reads the variable %s", e.Name)
		}
		if strings.Contains(e.Name, "PASSWORD") && e.Value != "" || e.Name == "NODESTORE_SOURCE" && e.ValueFrom.SecretKeyRef.Key == "" {
			t.Errorf("%s does not come from a Secret", e.Name)
		}
		if e.Name == "NODESTORE_SHARDS" && e.Value != fmt.Sprint(job.Spec.Completions) {
			t.Errorf("%s shards, %d completions", e.Value, job.Spec.Completions)
		}
	}
}

// What a Job writes goes to a volume that its user may write to and that outlives the pod:
// the root file system is read-only. A Job without one names no file.
func TestKubernetesJobsWriteToTheirVolume(t *testing.T) {
	t.Parallel()
	for name, writes := range map[string]bool{"kubernetes-job.yaml": false, "kubernetes-plan.yaml": false, "kubernetes-verify.yaml": true} {
		var job kubernetesJob
		readDeployed(t, name, &job)
		pod := job.Spec.Template.Spec
		c := pod.Containers[0]
		volume := len(pod.Volumes) == 1 && len(c.VolumeMounts) == 1 && c.VolumeMounts[0].Name == pod.Volumes[0].Name &&
			pod.Volumes[0].PersistentVolumeClaim.ClaimName != "" && c.VolumeMounts[0].MountPath == c.WorkingDir && pod.SecurityContext.FSGroup == pod.SecurityContext.RunAsUser
		if volume != writes {
			t.Errorf("%s: it writes: %t, volume: %+v in %q", name, writes, c.VolumeMounts, c.WorkingDir)
		}
		for _, arg := range c.Args {
			if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "--report") && (!writes || filepath.Base(value) != value) {
				t.Errorf("%s: %s is not in the volume", name, arg)
			}
		}
	}
}

// The command line of the Job, as each of its pods would read it.
func TestKubernetesJobIsUnderstood(t *testing.T) {
	var job kubernetesJob
	readDeployed(t, "kubernetes-job.yaml", &job)
	c := job.Spec.Template.Spec.Containers[0]
	for _, e := range c.Env {
		t.Setenv(e.Name, e.Value)
	}
	t.Setenv("NODESTORE_SOURCE", "postgres://sentry@postgres/sentry")
	t.Setenv("NODESTORE_TARGET", "https://opensearch:9200")
	for index := range job.Spec.Completions {
		t.Setenv("JOB_COMPLETION_INDEX", fmt.Sprint(index))
		var stderr bytes.Buffer
		selected, code := parse(&process{stdout: &stderr, stderr: &stderr, getenv: os.Getenv}, c.Args)
		verb, ok := selected.(*migrateCommand)
		if !ok {
			t.Fatalf("exit code %d: %s", code, stderr.String())
		}
		if number, of := verb.shard(); number != index || of != job.Spec.Completions {
			t.Errorf("pod %d is shard %d of %d", index, number, of)
		}
	}
}

// The later runs of docs/kubernetes.md: the Job without what makes it several.
func TestKubernetesJobWithoutShards(t *testing.T) {
	var job kubernetesJob
	readDeployed(t, "kubernetes-job.yaml", &job)
	c := job.Spec.Template.Spec.Containers[0]
	for _, e := range c.Env {
		if e.Name != "NODESTORE_SHARDS" {
			t.Setenv(e.Name, e.Value)
		}
	}
	t.Setenv("NODESTORE_TARGET", "https://opensearch:9200")
	var stderr bytes.Buffer
	selected, code := parse(&process{stdout: &stderr, stderr: &stderr, getenv: os.Getenv}, append(c.Args, "--switched-at=2025-09-01T14:30:00Z"))
	verb, ok := selected.(*migrateCommand)
	if !ok {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	if number, of := verb.shard(); number != 0 || of != 1 {
		t.Errorf("it is shard %d of %d", number, of)
	}
}

// The pages for who deploys it name no variable that nobody reads.
func TestVariablesOfTheDocs(t *testing.T) {
	t.Parallel()
	known := knownVariables(t)
	known["SENTRY_NODESTORE"], known["SENTRY_NODESTORE_OPTIONS"] = true, true // of Sentry's configuration
	for _, page := range []string{"kubernetes.md", "switch.md"} {
		content, err := os.ReadFile(filepath.Join(root, "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\b(NODESTORE|SENTRY)_[A-Z_]*[A-Z]\b`).FindAllString(string(content), -1) {
			if !known[name] {
				t.Errorf("%s: nobody reads the variable %s", page, name)
			}
		}
	}
}
