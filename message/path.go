package message

import "strconv"

// pathAt tells in which field the byte at offset lies, as far as the keys on
// the way are those of the contract: any other key is content, and the path
// ends before it. It ends at the sixth level too: deeper faults are floods.
func pathAt(data []byte, offset int) string {
	type level struct {
		list bool
		n    int
		key  string
	}
	var stack []level
	wantKey := false
	for i := 0; i < offset && i < len(data); i++ {
		switch data[i] {
		case '{':
			stack = append(stack, level{})
			wantKey = true
		case '[':
			stack = append(stack, level{list: true})
			wantKey = false
		case '}', ']':
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		case ',':
			if len(stack) > 0 {
				top := &stack[len(stack)-1]
				top.n++
				top.key = ""
				wantKey = !top.list
			}
		case '"':
			end, _ := endOfString(data, i+1)
			if end > offset {
				i = len(data)
				break
			}
			if wantKey && len(stack) > 0 {
				stack[len(stack)-1].key = string(data[i+1 : end-1])
				wantKey = false
			}
			i = end - 1
		}
	}
	path := ""
	for _, l := range stack[:min(len(stack), 6)] {
		if l.list {
			path += "[" + strconv.Itoa(l.n) + "]"
			continue
		}
		if !isContractKey(l.key) {
			break
		}
		if path != "" {
			path += "."
		}
		path += l.key
	}
	return path
}

// isContractKey tells whether an error may name key.
func isContractKey(key string) bool {
	switch key {
	case "message_id", "timestamp", "source", "version", "type", "schema_version", "payload",
		"event_type", "data", "seq", "part",
		"matches", "detailed_changes", "high_priority", "metadata", "change_summary", "has_changes",
		"status", "details", "alert_type", "severity", "message",
		"matchid", "match_id", "matchnr", "tid", "lag1namn", "lag2namn", "anlaggningnamn",
		"domaruppdraglista", "kontaktpersoner", "personnamn", "epostadress", "mobiltelefon", "adress":
		return true
	}
	return false
}

// at names element n of the list at path.
func at(path string, n int) string { return path + "[" + strconv.Itoa(n) + "]" }

// under names the member key of the object at path.
func under(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
