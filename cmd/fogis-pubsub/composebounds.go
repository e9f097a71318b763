package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxExpanded bounds the bytes of a Compose file with each alias written out, and
// those that variables put into a text.
const maxExpanded = 4 << 20

// fits tells whether a document with each alias written out is within bounds.
func fits(n *yaml.Node, room *int, depth int) bool {
	if *room -= len(n.Value) + 1; *room < 0 || depth > 100 {
		return false
	}
	if n.Alias != nil {
		return fits(n.Alias, room, depth+1)
	}
	for _, child := range n.Content {
		if !fits(child, room, depth+1) {
			return false
		}
	}
	return true
}

var secretName = regexp.MustCompile(`(?i)pass|secret|token|key|auth|credential|pwd`)

// secretOption is an option of a command that is named like a secret, and its value.
var secretOption = regexp.MustCompile(`(?i)(?:^|[\s"'])(?:-a|-*[\w-]*(?:pass|secret|token|key|auth|credential|pwd)[\w-]*)[\s"'=]+([^\s"']+)`)

// envFiles are the paths of env_file, in each of its forms.
func envFiles(v any) (paths []string) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		if long, ok := one.(map[string]any); ok {
			one = long["path"]
		}
		if path, ok := one.(string); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// collectSecrets notes what no text may show.
func (c *composed) collectSecrets(file *composeFile, dir string, env func(string) string) {
	note := func(value string) {
		for _, secret := range []string{value, expand(value, env)} {
			if len(secret) >= 4 { // others would hide words
				c.secrets = append(c.secrets, secret)
			}
		}
	}
	beside := func(path string) string {
		if path = expand(path, env); path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		return path
	}
	variables := func(path string) {
		data, _ := readBounded(beside(path)) // one that is missing holds none
		for line := range strings.Lines(string(data)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), "="); secretName.MatchString(name) {
				note(strings.Trim(strings.TrimSpace(value), `"'`))
			}
		}
	}
	variables(".env")
	for _, secret := range file.Secrets {
		if secret.Environment != "" {
			note(env(secret.Environment))
		}
		if data, err := readBounded(beside(secret.File)); err == nil {
			for line := range strings.Lines(string(data)) {
				note(strings.TrimSpace(line))
			}
		}
	}
	for _, service := range file.Services {
		if service == nil {
			continue
		}
		for _, path := range envFiles(service.EnvFile) {
			variables(path)
		}
		for _, command := range []any{service.Entrypoint, service.Command} {
			for _, found := range secretOption.FindAllStringSubmatch(words(command), -1) {
				note(found[1])
			}
		}
		switch variables := service.Environment.(type) {
		case map[string]any:
			for name, value := range variables {
				if value != nil && secretName.MatchString(name) {
					note(fmt.Sprint(value))
				}
			}
		case []any:
			for _, variable := range variables {
				if name, value, _ := strings.Cut(fmt.Sprint(variable), "="); secretName.MatchString(name) {
					note(value)
				}
			}
		}
	}
}
