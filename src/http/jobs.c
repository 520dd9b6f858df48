/* jobs: the worker threads and their queue: first come, first served. Parsing and tokenising run here, so that the epoll
 * threads never wait. */
#include "base/mem.h"
#include "http/server.h"
#include <string.h>

static struct job *take(struct jobs *j)
{
    pthread_mutex_lock(&j->mu);
    while (!j->head && !j->stop)
        pthread_cond_wait(&j->wake, &j->mu);
    struct job *job = j->head;
    if (job) {
        j->head = job->next;
        if (!j->head)
            j->tail = NULL;
    }
    pthread_mutex_unlock(&j->mu);
    return job;
}

static void *worker(void *arg)
{
    struct jobs *j = arg;
    for (struct job *job; (job = take(j));) {
        void (*fn)(void *) = job->fn;
        void *a = job->arg;
        if (job->owned)
            mem_free(job); /* else it lies in a request that fn may free */
        fn(a);
    }
    return NULL;
}

int jobs_start(struct jobs *j, int n, struct err *e)
{
    pthread_mutex_init(&j->mu, NULL);
    pthread_cond_init(&j->wake, NULL);
    int max = (int)(sizeof j->thread / sizeof *j->thread);
    for (int i = 0; i < (n < max ? n : max); i++) {
        int rc = pthread_create(&j->thread[i], NULL, worker, j);
        if (rc != 0) {
            jobs_stop(j);
            return err_set(e, ERR_NOMEM, "cannot start a worker thread: %s", strerror(rc));
        }
        j->n_threads++;
    }
    return 0;
}

int jobs_push(struct jobs *j, struct job *job)
{
    pthread_mutex_lock(&j->mu);
    int rc = j->stop ? ERR_CANCELLED : 0;
    if (!rc) {
        job->next = NULL;
        if (j->tail)
            j->tail->next = job;
        else
            j->head = job;
        j->tail = job;
        pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->mu);
    return rc;
}

void jobs_stop(struct jobs *j)
{
    pthread_mutex_lock(&j->mu);
    j->stop = true;
    pthread_cond_broadcast(&j->wake);
    pthread_mutex_unlock(&j->mu);
    for (int i = 0; i < j->n_threads; i++)
        pthread_join(j->thread[i], NULL);
    j->n_threads = 0;
}

int http_post(struct http_server *s, void (*fn)(void *arg), void *arg)
{
    struct job *job = mem_calloc(1, sizeof *job);
    if (!job)
        return ERR_NOMEM;
    *job = (struct job){.fn = fn, .arg = arg, .owned = true};
    int rc = jobs_push(&s->jobs, job);
    if (rc)
        mem_free(job);
    return rc;
}
