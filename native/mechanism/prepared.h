// Prepared roots on disk (formats/README.md, "Entries of prepared roots"), and joining one. Below a run directory, all of it root's own:
//   jobs/JOB/UID/KEY   an entry a root; whoever makes roots for that job and user holds a lock on the directory UID
//   pins/UID.RANDOM.JOB  in a tmpfs, since a namespace can be pinned only where mounts are private (see pins.h)
#pragma once
#include "mechanism/plan.h"
#include "policy/prepared.h"

#define JOBS "jobs"

// Wording for calls that set errno; always false.
bool prepare_failed(const char *step, struct failure *why);
// Descriptors of directories that root alone can change, or -1 with errno.
int run_open(const char *path) MUST_USE;
int job_open(int run, const char *job, const char *uid) MUST_USE; // uid NULL: the job's directory
// Removes the directories of the job, and of the user in it where there is one, as far as they hold nothing.
void job_leave(int run, const char *job, const char *uid);
// The lock on a directory, waited for a bounded time.
bool lock_take(int directory, int milliseconds) MUST_USE;
bool entry_read(int directory, const char *name, struct prepared *entry, struct failure *why) MUST_USE;
// The namespace of an entry, or -1 when nothing of it is left in our own.
int pin_open(int run, const struct prepared *entry) MUST_USE;
// A read-only device that shows the entry's image file.
bool device_hold(const struct prepared *entry, int *device) MUST_USE;
bool set_field(struct prepared *entry, enum prepared_field field, const char *text); // always true
// Where this process looks from: its mount namespace and root directory.
bool describe_view(struct buffer *out) MUST_USE;
// Which boot this is.
bool describe_boot(struct buffer *out) MUST_USE;
// Job and the fields that follow from the plan, up to that view.
bool describe(const struct root_plan *plan, const char *job, struct prepared *entry) MUST_USE;

// Before: ids all root, plan_begin done. True: this process is inside a root that was prepared for just this plan, and plan->image says
// what it is. False: it is where it was; if the image was prepared at all, plan->image and plan->device say so, and nothing of the image
// path is needed. Whatever is in doubt is no reason for an error.
bool prepared_join(struct root_plan *plan, const struct words *jobs) MUST_USE;

struct preparation {
  const char *run_directory; // one of the configuration's
  const char *job;
  bool verbose;
  const struct buffer *hostsfile; // `at` NULL: none
  struct root_plan *plan;         // begun; it is completed here
};
// Before: ids all root, and really root's. After: there is a root for the plan that ranks of the job join, or nothing more than before.
bool prepared_set_up(const struct preparation *asked, struct failure *why) MUST_USE;
// What is left of the job (uid NULL: of every user's) is gone; processes inside keep what they have. Waits for nobody.
bool prepared_tear_down(const char *run_directory, const char *job, const char *uid, struct failure *why) MUST_USE;
// Job, uid, image, age and state of every root, a line each, sorted, in columns; of one job, of one user, where they are not NULL.
void prepared_list(const char *run_directory, const char *only_job, const char *only_uid, struct buffer *out);
