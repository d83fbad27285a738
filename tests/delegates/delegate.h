/* What an external delegate shares with TensorFlow Lite, as far as the test
 * delegates need it.
 *
 * Field order and types follow the public API pages (TfLiteDelegate,
 * TfLiteContext, TfLiteNode, TfLiteTensor, TfLiteRegistration), which have been
 * the same from TensorFlow 2.12 to LiteRT 2.3.  Fields that nothing here reads
 * are named for their place only; functions that nothing here calls are `void
 * *`.
 *
 * Restrictions: 64-bit machines; test code, never installed.
 */
#ifndef EDGESTEM_TEST_DELEGATE_H
#define EDGESTEM_TEST_DELEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TFLITE_OK = 0, TFLITE_ERROR = 1 };
enum { TYPE_INT8 = 9 };
enum { BUILTIN_LOGISTIC = 14 };

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
    int size;
    int data[];
} IntArray;

typedef struct {
    int32_t type; /* TfLiteType */
    void *data;   /* TfLitePtrUnion */
    IntArray *dims;
    float scale; /* params: of a tensor quantised as a whole */
    int32_t zero_point;
    int32_t allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    Delegate *delegate;
    int buffer_handle;
    bool data_is_stale;
    bool is_variable;
    int32_t quantization_type;
    void *quantization_params;
    void *sparsity;
    const IntArray *dims_signature;
} Tensor;

typedef struct {
    IntArray *inputs;
    IntArray *outputs;
    /* More fields follow; nodes are only ever seen through a pointer. */
} Node;

typedef struct {
    void *(*init)(Context *context, const char *buffer, size_t length);
    void (*free)(Context *context, void *buffer);
    int (*prepare)(Context *context, Node *node);
    int (*invoke)(Context *context, Node *node);
    const char *(*profiling_string)(const Context *context, const Node *node);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *async_kernel;
    uint64_t inplace_operator;
    void *room[4]; /* by value: a longer one of the future reads 0 */
} Registration;

struct Context {
    size_t tensors_size;
    int (*get_execution_plan)(Context *context, IntArray **plan);
    Tensor *tensors;
    void *impl;
    void *resize_tensor;
    void (*report_error)(Context *context, const char *format, ...);
    void *add_tensors;
    int (*get_node_and_registration)(Context *context, int index, Node **node,
                                     Registration **registration);
    int (*replace_node_subsets)(Context *context, Registration registration,
                                const IntArray *nodes, Delegate *delegate);
    /* More fields follow. */
};

struct Delegate {
    void *data;
    int (*prepare)(Context *context, Delegate *delegate);
    void *copy_from_buffer_handle;
    void *copy_to_buffer_handle;
    void *free_buffer_handle;
    int64_t flags;
    void *opaque_delegate_builder;
};

/* The two symbols a plugin exports.  Keys and values are n strings each;
 * report_error may be NULL.  NULL is a refusal. */
Delegate *tflite_plugin_create_delegate(const char *const *keys,
                                        const char *const *values, size_t n,
                                        void (*report_error)(const char *));
void tflite_plugin_destroy_delegate(Delegate *delegate);

#endif
