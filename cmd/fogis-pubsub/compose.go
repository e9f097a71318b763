package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// redisService is the service's name in the Compose file, redisPort the port
// in its container.
const (
	redisService = "redis"
	redisPort    = "6379"
)

// maxComposeFile bounds the Compose file and the files beside it.
const maxComposeFile = 1 << 20

// finding is what is wrong with a Compose file. One that is no fault is told,
// and the service is started nevertheless.
type finding struct {
	fault      bool
	text, cure string
}

// composed is what is known of the Redis service of a Compose file.
type composed struct {
	findings []finding
	// password is the contents of the secret, "" when there is none.
	password string
	// secrets are what no text may show: the contents of all secrets of the file,
	// and the settings and options of all its services that are named like one.
	secrets []string
}

func (c *composed) faulty() bool {
	return slices.ContainsFunc(c.findings, func(f finding) bool { return f.fault })
}

func (c *composed) fault(cure, format string, args ...any) {
	c.findings = append(c.findings, finding{true, fmt.Sprintf(format, args...), cure})
}

func (c *composed) warn(cure, format string, args ...any) {
	c.findings = append(c.findings, finding{false, fmt.Sprintf(format, args...), cure})
}

// composeFile is the part of a Compose file that is looked at. What has several
// forms is any.
type composeFile struct {
	Services map[string]*composeService `yaml:"services"`
	Secrets  map[string]composeSecret   `yaml:"secrets"`
}

type composeSecret struct {
	File        string `yaml:"file"`
	Environment string `yaml:"environment"`
}

type composeService struct {
	Environment   any    `yaml:"environment"`
	EnvFile       any    `yaml:"env_file"`
	Image         string `yaml:"image"`
	Build         any    `yaml:"build"`
	ContainerName string `yaml:"container_name"`
	Command       any    `yaml:"command"`
	Entrypoint    any    `yaml:"entrypoint"`
	Ports         []any  `yaml:"ports"`
	Volumes       []any  `yaml:"volumes"`
	Secrets       []any  `yaml:"secrets"`
	Healthcheck   *struct {
		Test    any  `yaml:"test"`
		Disable bool `yaml:"disable"`
	} `yaml:"healthcheck"`
}

// checkCompose reads a Compose file and judges its Redis service.
func checkCompose(path string, getenv func(string) string) *composed {
	c := &composed{}
	data, err := readBounded(path)
	if err != nil {
		c.fault("give the Compose file with --file, such as deploy/docker-compose.yml of this project", "%v", err)
		return c
	}
	var file composeFile
	var document yaml.Node
	err = yaml.Unmarshal(data, &document)
	if room := maxExpanded; err == nil && !fits(&document, &room, 0) {
		err = errors.New("its aliases make it too large")
	}
	if err == nil {
		err = document.Decode(&file)
	}
	if err != nil {
		c.fault("correct the file; docker compose config tells more", "%s is no Compose file: %s", path, yamlFault(err))
		return c
	}
	env := composeEnv(filepath.Join(filepath.Dir(path), ".env"), getenv)
	c.collectSecrets(&file, filepath.Dir(path), env)
	service := file.Services[redisService]
	if service == nil {
		c.fault("copy it from deploy/docker-compose.yml of this project",
			"%s has no service %q; its services are: %s", path, redisService, strings.Join(slices.Sorted(maps.Keys(file.Services)), ", "))
		return c
	}
	c.checkImage(service, env)
	c.checkCommand(service, env)
	c.checkSecrets(service, file.Secrets, filepath.Dir(path), env)
	c.checkPorts(service, env)
	if !slices.ContainsFunc(service.Volumes, func(v any) bool { return mountsData(v, env) }) {
		c.warn("add redis-data:/data to its volumes", "service redis keeps nothing: no volume is mounted at /data")
	}
	if h := service.Healthcheck; h == nil || h.Disable || h.Test == nil {
		c.warn("add a healthcheck with redis-cli ping, so that services can wait for it", "service redis has no health check")
	}
	return c
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxComposeFile+1))
	if err == nil && len(data) > maxComposeFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxComposeFile)
	}
	return data, err
}

var yamlLine = regexp.MustCompile(`line \d+`)

// yamlFault tells what is wrong without quoting values, which may be secret.
func yamlFault(err error) string {
	mismatch, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return strings.TrimPrefix(err.Error(), "yaml: ")
	}
	var lines []string
	for _, text := range mismatch.Errors {
		lines = append(lines, yamlLine.FindString(text))
	}
	return strings.Join(lines, ", ") + ": the value has another form than Compose takes there"
}

func (c *composed) checkImage(s *composeService, env func(string) string) {
	if s.Image == "" && s.Build == nil {
		c.fault("set image: redis:7-alpine", "service redis has no image")
		return
	}
	image := expand(s.Image, env)
	name, tag, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	if major, err := strconv.Atoi(leadingDigits.FindString(tag)); name == "redis" && err == nil && major < 7 {
		c.warn("set image: redis:7-alpine", "image %s has no streams that durable mode can use, which needs Redis 7", image)
	}
}

var (
	leadingDigits  = regexp.MustCompile(`^\d+`)
	evictionPolicy = regexp.MustCompile(`maxmemory-policy[\s"']+([a-z-]+)`)
	appendOnly     = regexp.MustCompile(`appendonly[\s"']+yes`)
	plainPassword  = regexp.MustCompile(`requirepass[\s"']+[^\s"'$]`)
)

func (c *composed) checkCommand(s *composeService, env func(string) string) {
	command := expand(words(s.Entrypoint)+" "+words(s.Command), env)
	if policy := evictionPolicy.FindStringSubmatch(command); policy != nil && policy[1] != "noeviction" {
		c.fault("set maxmemory-policy noeviction", "with maxmemory-policy %s a full Redis throws away streams or leases, and so messages that nobody has read", policy[1])
	}
	if !appendOnly.MatchString(command) {
		c.warn("add appendonly yes to its command", "service redis may lose minutes of messages when it is killed: appendonly is not set")
	}
	if plainPassword.MatchString(command) {
		c.warn("take the password from a secret, as deploy/docker-compose.yml of this project does", "the password is in the command of service redis, where docker inspect shows it")
	}
}

func (c *composed) checkSecrets(s *composeService, secrets map[string]composeSecret, dir string, env func(string) string) {
	for _, used := range s.Secrets {
		name, _ := used.(string)
		if long, ok := used.(map[string]any); ok {
			name, _ = long["source"].(string)
		}
		secret, ok := secrets[name]
		if !ok {
			c.fault("define it under secrets:", "service redis uses the secret %q, which the file does not define", name)
			continue
		}
		path := expand(secret.File, env)
		if path == "" { // made otherwise: Compose checks it
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		cure := fmt.Sprintf("mkdir -p %s && openssl rand -hex 32 > %s, and the same password in the services' REDIS_URL", filepath.Dir(path), path)
		data, err := readBounded(path)
		password := strings.TrimRight(string(data), "\n")
		switch {
		case err != nil:
			c.fault(cure, "the secret %q cannot be read: %v", name, err)
		case password == "":
			c.fault(cure, "the secret %q is empty: %s", name, path)
		case strings.ContainsAny(password, "\"\\ \t\r\n"):
			c.fault(cure, "the secret %q has spaces, quotes or several lines: %s", name, path)
		case c.password == "":
			c.password = password
		}
	}
}

func (c *composed) checkPorts(s *composeService, env func(string) string) {
	for _, port := range s.Ports {
		if c.password == "" && everywhere(port, env) {
			c.warn(`publish it as "127.0.0.1:6379:6379", or give Redis a password`, "everybody who reaches this computer reaches Redis: its port is published on all addresses, and no password comes from a secret")
			return
		}
	}
}

// everywhere tells whether a port is published on all addresses.
func everywhere(port any, env func(string) string) bool {
	host := ""
	if long, ok := port.(map[string]any); ok {
		if long["published"] == nil {
			return false
		}
		host, _ = long["host_ip"].(string)
		host = expand(host, env)
	} else {
		parts := strings.Split(expand(fmt.Sprint(port), env), ":")
		if len(parts) < 2 {
			return true // on a port that Docker chooses
		}
		host = strings.Join(parts[:len(parts)-2], ":")
	}
	return slices.Contains([]string{"", "0.0.0.0", "::", "[::]"}, host)
}

func mountsData(volume any, env func(string) string) bool {
	if long, ok := volume.(map[string]any); ok {
		return long["target"] == "/data"
	}
	return slices.Contains(strings.Split(expand(fmt.Sprint(volume), env), ":"), "/data")
}

// words gives a command's text, whatever its form.
func words(v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var b strings.Builder
	for _, word := range list {
		if word != nil {
			fmt.Fprintf(&b, "%v ", word)
		}
	}
	return b.String()
}

// composeEnv reads variables as Compose does: from the environment, else from
// the file .env.
func composeEnv(dotenv string, getenv func(string) string) func(string) string {
	values := map[string]string{}
	data, _ := readBounded(dotenv) // mostly there is none
	for line := range bytes.Lines(data) {
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "=")
		if ok && !strings.HasPrefix(name, "#") {
			values[strings.TrimSpace(name)] = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return values[name]
	}
}

var composeVariable = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)(?::?([-?+])([^}]*))?\})`)

// expand puts variables in as Compose does.
func expand(text string, env func(string) string) string {
	room := maxExpanded
	return composeVariable.ReplaceAllStringFunc(text, func(found string) string {
		if found == "$$" {
			return "$"
		}
		m := composeVariable.FindStringSubmatch(found)
		value := env(m[1] + m[2])
		switch {
		case m[3] == "-" && value == "", m[3] == "+" && value != "":
			value = m[4]
		}
		if room -= len(value); room < 0 {
			return ""
		}
		return value
	})
}
