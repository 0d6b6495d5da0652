"""Export to the TensorFlow Serving layout. The only place of `keras_st`, with `backend`, that imports TensorFlow."""

from keras_st.cli import quiet_import

with quiet_import():
    from keras_st.serving.check import check_export, check_exports
    from keras_st.serving.export import export
    from keras_st.serving.warmup import write_warmup
