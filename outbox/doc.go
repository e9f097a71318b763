// Package outbox keeps messages that could not be sent yet in a file on this
// computer's disk, so that they outlive an outage of Redis, a crash of the
// process and kill -9.
//
// It stores and decides nothing: what is sent when, and when a record goes, is
// the publisher's to say.
//
// # Queues
//
// There is one queue per [message.Type], because order is promised per type and
// the channel of a type is a setting: a queue named for a channel would be
// orphaned when the channel is renamed. Records of several types nevertheless
// keep the order of their putting among each other (see [File.First]), for types
// that share a channel.
//
// A record that was refused for good leaves its queue by [File.SetAside], and a
// damaged one by itself. Both stay in the file, are listed by [File.All], and wait
// for an operator: [File.Requeue], [File.Discard].
//
// # What is promised
//
//   - A record is on disk when [File.Put] returns nil, and every other change
//     when its method does: each is one transaction, synced before it returns. A
//     crash in between leaves the file as it was before.
//   - Records of a queue come out in the order in which they were put.
//   - Nothing is dropped to make room: a full file refuses what is new with
//     [ErrFull]. Age deletes nothing.
//   - One process has the file at a time; others get [ErrInUse]. [Read] works
//     meanwhile.
//   - A damaged record costs no other one. A damaged file is renamed, never
//     deleted, and a new one begun: [File.Problems] tells, [File.Salvage] puts
//     back what is whole.
//   - Any other file stays as it is: Open returns an error.
//
// # The files
//
// The file holds names, addresses and telephone numbers as the messages do, and
// is for its owner only (mode 0600). Records that were removed leave it when its
// queues become empty, or by [File.Compact]. Beside it lies a file of the same
// name with ".lock" added while it is open: it tells the process ID and the host
// of the one that has it, and locks nothing. The directory must exist already: a
// directory that is made in silence hides that the volume is not there.
//
// The file must lie on a disk of this computer. Locks and memory maps over a
// network do not keep what is promised here.
package outbox
