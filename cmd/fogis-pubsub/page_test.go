package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command, verb and flag that the program names is in the section of
// docs/cli.md for its command.
func TestUsage_isOnThePageOfCommands(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/cli.md")
	require.NoError(t, err)
	sections := map[string]string{}
	for _, section := range strings.Split(string(data), "\n## ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	verbs := regexp.MustCompile(`^[a-z]+(\|[a-z]+)*$`)
	flagOf := regexp.MustCompile(`(?m)^  -([a-z-]+)|--([a-z-]+)`)
	commands := 0
	for line := range strings.Lines(usage) {
		if !strings.HasPrefix(line, "  ") {
			continue
		}
		commands++
		words := strings.Fields(line)
		text, found := sections[words[0]]
		require.True(t, found, "no section %s", words[0])
		args := words[:1]
		if verbs.MatchString(words[1]) {
			all := strings.Split(words[1], "|")
			for _, verb := range all {
				require.Regexp(t, "`"+verb+"[` ]|fogis-pubsub "+words[0]+" "+verb, text, words[0])
			}
			args = append(args, all[0])
		}
		p := start(t, nil, "", append(args, "-h")...)
		require.Equal(t, exitDone, p.wait(), p.stderr)
		flags := flagOf.FindAllStringSubmatch(p.stderr.String()+line, -1)
		require.Greater(t, len(flags), 1, line)
		for _, found := range flags {
			name := "--" + found[1] + found[2]
			require.Regexp(t, name+"[` ]", text+sections["Every command"], "%s %s", words[0], name)
		}
	}
	require.GreaterOrEqual(t, commands, 11)
}
