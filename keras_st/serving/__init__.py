"""Export to the TensorFlow Serving layout. The only place of `keras_st`, with `backend`, that imports TensorFlow."""

from keras_st.serving.export import export
