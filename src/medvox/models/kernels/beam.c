/* The prefix beam search of models/beam_plain.py, step for step: same order, same sums, same ties.
 *
 * Called by models/beam_fast.py, which lays out the arrays. A node is a token sequence, known by its parent and last
 * token; `spans` are the frames of an alignment, last token first. Both only grow, and are cleaned of what no living
 * hypothesis stands on when they have doubled. All scores are natural logarithms.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NEVER (-INFINITY)
#define NONE (-1)

typedef struct { int64_t length; const int64_t *keys; const float *logp, *backoff; } Table; /* n-grams of one order */
typedef struct { int64_t order, words; const int64_t *codes; const Table *tables; } Lm;
typedef struct {
    int64_t width, edges;
    const int64_t *keys; /* node * width + letter, sorted */
    const int32_t *targets, *shorter, *spelled, *spelled_at;
    const uint8_t *ends;
    const double *earned, *lent;
} Hot;
typedef struct {
    int64_t beam, nbest, end_of_sentence, room; /* room: nodes and spans before the first cleaning */
    double alpha, beta, unknown, prune;
    float min_token;
} Settings;
typedef struct { double acoustic, language, hotwords, total; int64_t length, first; } Found; /* first: in spans */
typedef struct { int64_t count; Found *found; int32_t *spans; } Result; /* spans: token, first frame, last frame */

typedef struct { int32_t parent, token, length, hot, slot, frame, borrows; double language, earned, bonus; } Node;
typedef struct { int32_t before, first, last; } Span;
typedef struct { /* the alignments of a node that end in blank, and those that end in its last token */
    int32_t node, slot, spans_blank, spans_token;
    double blank, token, best_blank, best_token, score;
} Paths;
typedef struct { int32_t token; double logp; } Candidate;

typedef struct {
    const Lm *lm;
    const Hot *hot;
    const Settings *set;
    int32_t blank, depth; /* depth: words of a state of the language model */
    Node *nodes;
    int32_t *states; /* depth a node */
    int64_t node_count, node_room, node_limit;
    int32_t *buckets; /* open addressing: node by (parent, token) */
    int64_t bucket_count;
    Span *spans;
    int64_t span_count, span_room, span_limit;
    Paths *beams, *after;
    int64_t beam_count, after_count, beam_room, after_room;
    int failed; /* memory ran out */
} Search;

static int grow(void **array, int64_t *room, int64_t wanted, size_t size)
{
    if (wanted <= *room) return 1;
    int64_t larger = *room * 2 > wanted ? *room * 2 : wanted + 64;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved) return 0;
    *array = moved;
    *room = larger;
    return 1;
}

static double sum(double a, double b) /* ln(e^a + e^b) */
{
    double high = a < b ? b : a, low = a < b ? a : b;
    return low == NEVER ? high : high + log1p(exp(low - high));
}

static int64_t find(const int64_t *keys, int64_t length, int64_t key) /* where the key is, or NONE */
{
    const int64_t *base = keys;
    while (length > 0) {
        int64_t half = length / 2;
        if (base[half] < key) base += half + 1, length -= half + 1;
        else length = half;
    }
    return *base == key ? base - keys : NONE; /* the array ends in a key beyond all others */
}

/* ln P(word | state), and the state that follows unless NULL. */
static double chance(const Lm *lm, const int32_t *state, int64_t word, int32_t *following)
{
    double logp = lm->tables[0].logp[word];
    if (following && lm->order > 1) following[0] = (int32_t)word;
    for (int64_t k = 1; k < lm->order; k++) {
        int32_t context = state[k - 1];
        int64_t at = NONE;
        if (context >= 0) {
            const Table *table = &lm->tables[k];
            at = find(table->keys, table->length, context * lm->words + word);
            logp = at == NONE ? logp + (double)lm->tables[k - 1].backoff[context] : (double)table->logp[at];
        }
        if (following && k < lm->order - 1) following[k] = (int32_t)at;
    }
    return logp * 2.302585092994046;
}

static int32_t after_letter(const Hot *hot, int32_t node, int32_t letter)
{
    for (;;) {
        int64_t at = find(hot->keys, hot->edges, node * hot->width + letter);
        if (at != NONE) return hot->targets[at];
        if (node == 0) return 0;
        node = hot->shorter[node];
    }
}

static uint64_t bucket_of(const Search *s, int32_t parent, int32_t token)
{
    uint64_t key = ((uint64_t)(uint32_t)parent << 32 | (uint32_t)token) * 0x9E3779B97F4A7C15u;
    return (key ^ key >> 29) & (uint64_t)(s->bucket_count - 1);
}

static void enter(Search *s, int32_t node)
{
    uint64_t at = bucket_of(s, s->nodes[node].parent, s->nodes[node].token);
    while (s->buckets[at] != NONE) at = (at + 1) & (uint64_t)(s->bucket_count - 1);
    s->buckets[at] = node;
}

static void rehash(Search *s, int64_t count)
{
    if (count != s->bucket_count) {
        int32_t *fresh = realloc(s->buckets, (size_t)count * sizeof *fresh);
        if (!fresh) { s->failed = 1; return; }
        s->buckets = fresh;
        s->bucket_count = count;
    }
    memset(s->buckets, 0xff, (size_t)count * sizeof *s->buckets);
    for (int64_t node = 1; node < s->node_count; node++) enter(s, (int32_t)node);
}

static void score(Search *s, int32_t at)
{
    Node *node = &s->nodes[at];
    const Node *parent = &s->nodes[node->parent];
    if (s->lm) {
        const int64_t word = s->lm->codes[node->token], unknown = s->lm->words - 1;
        int32_t *states = s->states;
        double gain = chance(s->lm, states + (int64_t)node->parent * s->depth, word, states + (int64_t)at * s->depth);
        node->language = parent->language + (gain + (word == unknown ? s->set->unknown : 0.0));
        node->bonus = s->set->alpha * node->language + s->set->beta * node->length;
    }
    if (s->hot) {
        double sealed = 0.0;
        int32_t hot = parent->hot;
        for (int32_t i = s->hot->spelled_at[node->token]; i < s->hot->spelled_at[node->token + 1]; i++) {
            if (s->hot->ends[s->hot->spelled[i]]) sealed += s->hot->earned[hot];
            hot = after_letter(s->hot, hot, s->hot->spelled[i]);
        }
        node->hot = hot;
        node->earned = parent->earned + sealed;
        const double borrowed = s->hot->earned[hot] + s->hot->lent[hot];
        node->bonus += node->earned + borrowed;
        node->borrows = borrowed > 0.0;
    }
}

static int32_t child(Search *s, int32_t parent, int32_t token) /* made and scored if need be */
{
    uint64_t at = bucket_of(s, parent, token);
    for (; s->buckets[at] != NONE; at = (at + 1) & (uint64_t)(s->bucket_count - 1)) {
        const Node *node = &s->nodes[s->buckets[at]];
        if (node->parent == parent && node->token == token) return s->buckets[at];
    }
    int64_t room = s->node_room;
    if (!grow((void **)&s->nodes, &s->node_room, s->node_count + 1, sizeof *s->nodes)) { s->failed = 1; return 0; }
    if (s->node_room != room) {
        void *moved = realloc(s->states, (size_t)(s->node_room * (s->depth + 1)) * sizeof *s->states);
        if (!moved) { s->failed = 1; return 0; }
        s->states = moved;
    }
    int32_t node = (int32_t)s->node_count++;
    int32_t length = s->nodes[parent].length + 1;
    s->nodes[node] = (Node){.parent = parent, .token = token, .length = length, .frame = NONE};
    score(s, node);
    if (s->node_count * 2 > s->bucket_count) rehash(s, s->bucket_count * 2);
    else enter(s, node);
    return node;
}

static int32_t span(Search *s, int32_t before, int32_t first, int32_t last)
{
    if (!grow((void **)&s->spans, &s->span_room, s->span_count + 1, sizeof *s->spans)) { s->failed = 1; return NONE; }
    s->spans[s->span_count] = (Span){before, first, last};
    return (int32_t)s->span_count++;
}

static Paths *at(Search *s, int32_t node, int32_t frame) /* the paths of the node after this frame */
{
    Node *own = &s->nodes[node];
    if (own->frame != frame) {
        if (!grow((void **)&s->after, &s->after_room, s->after_count + 1, sizeof *s->after)) {
            s->failed = 1;
            return NULL;
        }
        own->frame = frame;
        own->slot = (int32_t)s->after_count++;
        s->after[own->slot] = (Paths){node, own->slot, NONE, NONE, NEVER, NEVER, NEVER, NEVER, 0.0};
    }
    return &s->after[own->slot];
}

static void add_token(Search *s, Paths *to, double logp, double best, Span last)
{
    if (!to) return;
    to->token = sum(to->token, logp);
    if (best > to->best_token) {
        to->best_token = best;
        to->spans_token = span(s, last.before, last.first, last.last);
    }
}

static void advance(Search *s, int32_t frame, const Candidate *candidates, int32_t count)
{
    s->after_count = 0;
    for (int64_t b = 0; b < s->beam_count && !s->failed; b++) {
        const Paths from = s->beams[b];
        const double total = sum(from.blank, from.token);
        const int blank_rules = from.best_blank >= from.best_token;
        const double best = blank_rules ? from.best_blank : from.best_token;
        const int32_t spans = blank_rules ? from.spans_blank : from.spans_token;
        const int32_t token = s->nodes[from.node].token;
        for (int32_t c = 0; c < count && !s->failed; c++) {
            const double logp = candidates[c].logp;
            if (candidates[c].token == s->blank) {
                Paths *to = at(s, from.node, frame);
                if (!to) return;
                to->blank = sum(to->blank, total + logp);
                if (best + logp > to->best_blank) to->best_blank = best + logp, to->spans_blank = spans;
            } else if (candidates[c].token != token) {
                int32_t node = child(s, from.node, candidates[c].token);
                add_token(s, at(s, node, frame), total + logp, best + logp, (Span){spans, frame, frame});
            } else {
                if (from.spans_token != NONE) {
                    const Span last = s->spans[from.spans_token];
                    const Span longer = {last.before, last.first, frame};
                    add_token(s, at(s, from.node, frame), from.token + logp, from.best_token + logp, longer);
                }
                if (from.blank != NEVER) {
                    int32_t node = child(s, from.node, candidates[c].token);
                    const Span again = {from.spans_blank, frame, frame};
                    add_token(s, at(s, node, frame), from.blank + logp, from.best_blank + logp, again);
                }
            }
        }
    }
}

static void pause(Search *s, double logp) /* a frame where only the blank is worth trying */
{
    for (int64_t b = 0; b < s->beam_count; b++) {
        Paths *paths = &s->beams[b];
        if (paths->best_blank < paths->best_token) {
            paths->best_blank = paths->best_token;
            paths->spans_blank = paths->spans_token;
        }
        paths->blank = sum(paths->blank, paths->token) + logp;
        paths->best_blank += logp;
        paths->token = paths->best_token = NEVER;
        paths->spans_token = NONE;
    }
}

static int by_score(const void *a, const void *b) /* best first; among equals, first come first */
{
    const Paths *left = a, *right = b;
    if (left->score != right->score) return left->score < right->score ? 1 : -1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

static void best(Search *s) /* the hypotheses that stay: so many that borrow from a phrase, and so many that do not */
{
    double highest[2] = {NEVER, NEVER};
    for (int64_t a = 0; a < s->after_count; a++) {
        Paths *paths = &s->after[a];
        const Node *node = &s->nodes[paths->node];
        paths->score = sum(paths->blank, paths->token) + node->bonus;
        if (paths->score > highest[node->borrows]) highest[node->borrows] = paths->score;
    }
    if (highest[1] < highest[0]) highest[1] = highest[0];
    int64_t kept = 0, count[2] = {0, 0};
    for (int64_t a = 0; a < s->after_count; a++) {
        const Paths paths = s->after[a];
        if (paths.score >= highest[s->nodes[paths.node].borrows] + s->set->prune) s->after[kept++] = paths;
    }
    qsort(s->after, (size_t)kept, sizeof *s->after, by_score);
    Paths *beams = s->beams;
    int64_t room = s->beam_room;
    s->beams = s->after, s->beam_room = s->after_room;
    s->after = beams, s->after_room = room;
    s->beam_count = 0;
    for (int64_t b = 0; b < kept; b++)
        if (count[s->nodes[s->beams[b].node].borrows]++ < s->set->beam) s->beams[s->beam_count++] = s->beams[b];
}

static void clean_spans(Search *s, int32_t *moved)
{
    memset(moved, 0, (size_t)s->span_count * sizeof *moved);
    for (int64_t b = 0; b < s->beam_count; b++)
        for (int kind = 0; kind < 2; kind++) {
            int32_t at = kind ? s->beams[b].spans_token : s->beams[b].spans_blank;
            for (; at != NONE && !moved[at]; at = s->spans[at].before) moved[at] = 1;
        }
    int32_t kept = 0;
    for (int64_t at = 0; at < s->span_count; at++) {
        if (!moved[at]) continue;
        Span own = s->spans[at];
        if (own.before != NONE) own.before = moved[own.before];
        s->spans[kept] = own;
        moved[at] = kept++;
    }
    for (int64_t b = 0; b < s->beam_count; b++) {
        Paths *paths = &s->beams[b];
        if (paths->spans_blank != NONE) paths->spans_blank = moved[paths->spans_blank];
        if (paths->spans_token != NONE) paths->spans_token = moved[paths->spans_token];
    }
    s->span_count = kept;
}

static void clean_nodes(Search *s, int32_t *moved)
{
    memset(moved, 0, (size_t)s->node_count * sizeof *moved);
    for (int64_t b = 0; b < s->beam_count; b++)
        for (int32_t at = s->beams[b].node; at != NONE && !moved[at]; at = s->nodes[at].parent) moved[at] = 1;
    int32_t kept = 0;
    for (int64_t at = 0; at < s->node_count; at++) {
        if (!moved[at]) continue;
        Node own = s->nodes[at];
        if (own.parent != NONE) own.parent = moved[own.parent];
        s->nodes[kept] = own;
        memmove(s->states + (int64_t)kept * s->depth, s->states + at * s->depth, (size_t)s->depth * sizeof *s->states);
        moved[at] = kept++;
    }
    for (int64_t b = 0; b < s->beam_count; b++) s->beams[b].node = moved[s->beams[b].node];
    s->node_count = kept;
    rehash(s, s->bucket_count);
}

static void clean(Search *s)
{
    if (s->node_count < s->node_limit && s->span_count < s->span_limit) return;
    int64_t larger = s->node_count > s->span_count ? s->node_count : s->span_count;
    int32_t *moved = malloc((size_t)larger * sizeof *moved);
    if (!moved) { s->failed = 1; return; }
    clean_spans(s, moved);
    clean_nodes(s, moved);
    free(moved);
    s->node_limit = s->set->room + 2 * s->node_count;
    s->span_limit = s->set->room + 2 * s->span_count;
}

static void search(Search *s, const float *logprobs, int64_t frames, int64_t tokens)
{
    Candidate *candidates = malloc((size_t)tokens * sizeof *candidates);
    if (!candidates) { s->failed = 1; return; }
    for (int64_t frame = 0; frame < frames && !s->failed; frame++) {
        const float *row = logprobs + frame * tokens;
        int32_t count = 0, top = 0;
        for (int32_t token = 1; token < tokens; token++)
            if (row[token] > row[top]) top = token;
        for (int32_t token = 0; token < tokens; token++)
            if (row[token] >= s->set->min_token || token == top) candidates[count++] = (Candidate){token, row[token]};
        if (count == 1 && candidates[0].token == s->blank) {
            pause(s, candidates[0].logp);
        } else {
            advance(s, (int32_t)frame, candidates, count);
            if (!s->failed) best(s);
        }
        if (!s->failed) clean(s);
    }
    free(candidates);
}

static void finish_one(Search *s, const Paths *paths, Found *found)
{
    const Node *node = &s->nodes[paths->node];
    const Lm *lm = s->lm;
    double end = 0.0;
    if (lm && s->set->end_of_sentence && !(node->length && lm->codes[node->token] == lm->words - 2))
        end = chance(lm, s->states + (int64_t)paths->node * s->depth, lm->words - 2, NULL);
    found->acoustic = sum(paths->blank, paths->token);
    found->language = node->language + end;
    found->hotwords = node->earned + (s->hot ? s->hot->earned[node->hot] : 0.0);
    double weighted = lm ? s->set->alpha * found->language + s->set->beta * node->length : 0.0;
    found->total = found->acoustic + weighted + found->hotwords;
    found->length = node->length;
    found->first = paths - s->beams; /* of the hypothesis, until the spans are laid out */
}

static int by_total(const void *a, const void *b)
{
    const Found *left = a, *right = b;
    if (left->total != right->total) return left->total < right->total ? 1 : -1;
    return left->first < right->first ? -1 : left->first > right->first;
}

static int finish(Search *s, Result *result)
{
    result->found = malloc((size_t)s->beam_count * sizeof *result->found);
    if (!result->found) return 0;
    for (int64_t b = 0; b < s->beam_count; b++) finish_one(s, &s->beams[b], &result->found[b]);
    qsort(result->found, (size_t)s->beam_count, sizeof *result->found, by_total);
    result->count = s->beam_count < s->set->nbest ? s->beam_count : s->set->nbest;
    int64_t length = 1;
    for (int64_t f = 0; f < result->count; f++) length += result->found[f].length;
    result->spans = malloc((size_t)length * 3 * sizeof *result->spans);
    if (!result->spans) return 0;
    length = 0;
    for (int64_t f = 0; f < result->count; f++) {
        Found *found = &result->found[f];
        const Paths *paths = &s->beams[found->first];
        int32_t node = paths->node;
        int32_t at = paths->best_blank >= paths->best_token ? paths->spans_blank : paths->spans_token;
        found->first = length;
        length += found->length;
        for (int64_t i = length - 1; i >= found->first; i--, node = s->nodes[node].parent, at = s->spans[at].before) {
            int32_t own[3] = {s->nodes[node].token, s->spans[at].first, s->spans[at].last};
            memcpy(result->spans + 3 * i, own, sizeof own);
        }
    }
    return 1;
}

static int start(Search *s)
{
    s->node_limit = s->span_limit = s->set->room;
    s->depth = s->lm ? (int32_t)s->lm->order - 1 : 0;
    rehash(s, 1024);
    if (s->failed || !grow((void **)&s->nodes, &s->node_room, 256, sizeof *s->nodes)) return 0;
    s->states = malloc((size_t)(s->node_room * (s->depth + 1)) * sizeof *s->states);
    if (!s->states || !grow((void **)&s->beams, &s->beam_room, 64, sizeof *s->beams)) return 0;
    s->nodes[0] = (Node){.parent = NONE, .token = s->blank, .frame = NONE};
    for (int32_t k = 0; k < s->depth; k++) s->states[k] = k ? NONE : (int32_t)s->lm->words - 3;
    s->node_count = s->beam_count = 1;
    s->beams[0] = (Paths){0, 0, NONE, NONE, 0.0, NEVER, 0.0, NEVER, 0.0};
    return 1;
}

void medvox_release(Result *result)
{
    if (result) free(result->found), free(result->spans);
    free(result);
}

/* NULL when memory runs out. `lm` and `hot` may be NULL; `logprobs` is (frames, tokens). */
Result *medvox_beam(const float *logprobs, int64_t frames, int64_t tokens, int64_t blank, const Settings *set,
                    const Lm *lm, const Hot *hot)
{
    Search s = {.lm = lm, .hot = hot, .set = set, .blank = (int32_t)blank};
    Result *result = calloc(1, sizeof *result);
    int done = result && start(&s);
    if (done) search(&s, logprobs, frames, tokens);
    done = done && !s.failed && finish(&s, result);
    free(s.nodes), free(s.states), free(s.buckets), free(s.spans), free(s.beams), free(s.after);
    if (done) return result;
    medvox_release(result);
    return NULL;
}
