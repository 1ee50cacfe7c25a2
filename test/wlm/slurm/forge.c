// Submits a batch job as a client that is not ours would: what a prologue is told of the job is whatever the caller writes. Compiled by hostile.ts.
//   forge OUTPUT SCRIPT [NAME=VALUE]...    prints the job's id; each NAME=VALUE is put where SPANK plugins leave their own
#include <slurm/slurm.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
  job_desc_msg_t job;
  submit_response_msg_t *answer = NULL;
  if (argc < 3) return 2;
  slurm_init(NULL);
  slurm_init_job_desc_msg(&job);
  job.name = "forged";
  job.std_out = argv[1];
  job.script = argv[2];
  job.work_dir = "/";
  job.user_id = getuid();
  job.group_id = getgid();
  job.min_nodes = 1;
  job.environment = environ;
  for (job.env_size = 0; environ[job.env_size] != NULL; job.env_size++) continue;
  job.spank_job_env = argv + 3;
  job.spank_job_env_size = (uint32_t)argc - 3;
  if (slurm_submit_batch_job(&job, &answer) != SLURM_SUCCESS) {
    slurm_perror("forge");
    return 1;
  }
  printf("%u\n", answer->job_id);
  slurm_free_submit_response_response_msg(answer);
  return 0;
}
